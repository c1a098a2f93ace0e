"use strict";
// What the page holds: see ClusterReport in skdeepclust/inspection/_report.py.
const report = JSON.parse(document.getElementById("report").textContent);
const sheets = [...document.querySelectorAll("script.sheet")];
const { clusters, classes } = report;
const images = unpackAll(report.images);
const n = images.index.length;
const NONE = 0xffff;
const PAGE = 120; // images that a list shows at a time
const CARDS = 60;

const $ = (selector, root = document) => root.querySelector(selector);

// -- data -------------------------------------------------------------------------------------

function unpackAll(packed) {
  const kinds = { f4: Float32Array, u2: Uint16Array, u4: Uint32Array };
  const unpack = ([kind, text]) =>
    new kinds[kind](Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  const isPacked = (value) => Array.isArray(value) && value.length === 2 && value[0] in kinds;
  return Object.fromEntries(
    Object.entries(packed).map(([name, value]) => [name, isPacked(value) ? unpack(value) : value]),
  );
}

const nameOf = (i) => (images.names ? images.names[i] : `image ${images.index[i]}`);
const clusterName = (c) => {
  const { label, name } = clusters[c];
  return name === null ? `Cluster ${label}` : `${name} (cluster ${label})`;
};
const plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// -- thumbnails -------------------------------------------------------------------------------

const sheetURL = (s) => `data:image/webp;base64,${sheets[s].textContent}`;
const styled = new Set();
const sheetStyle = document.head.appendChild(make("style"));

function place(i) {
  const perSheet = report.columns ** 2;
  const [sheet, tile] = [Math.floor(i / perSheet), i % perSheet];
  const rows = Math.ceil(Math.min(perSheet, n - sheet * perSheet) / report.columns);
  return { sheet, rows, row: Math.floor(tile / report.columns), column: tile % report.columns };
}

function picture(i) {
  const { sheet, rows, row, column } = place(i);
  if (!styled.has(sheet)) {
    // One rule for all tiles: the browser keeps one picture.
    sheetStyle.sheet.insertRule(`.sheet-${sheet}{background-image:url(${sheetURL(sheet)})}`);
    styled.add(sheet);
  }
  const share = (at, count) => (count > 1 ? (100 * at) / (count - 1) : 0);
  const shown = make("span", { class: `picture sheet-${sheet}${report.pixels ? " pixels" : ""}` });
  shown.style.aspectRatio = `${report.tile[0]} / ${report.tile[1]}`;
  shown.style.backgroundSize = `${100 * report.columns}% ${100 * rows}%`;
  shown.style.backgroundPosition = `${share(column, report.columns)}% ${share(row, rows)}%`;
  return shown;
}

function thumb(i) {
  const words = `${nameOf(i)}, ${clusterName(images.label[i])}`;
  const attributes = { type: "button", class: "thumb", title: words, "aria-label": words };
  return make("button", { ...attributes, "data-image": i }, picture(i));
}

// Show a list of images, a page at a time.
function list(root, chosen) {
  let shown = 0;
  const more = make("button", { type: "button", class: "more" });
  function next() {
    const page = chosen.slice(shown, shown + PAGE);
    shown += page.length;
    more.before(...page.map(thumb));
    more.hidden = shown >= chosen.length;
    more.textContent = `Show more (${(chosen.length - shown).toLocaleString("en")} left)`;
  }
  more.addEventListener("click", next);
  root.replaceChildren(more);
  next();
}

function search(indices, text) {
  const wanted = text.trim().toLowerCase();
  return wanted ? indices.filter((i) => nameOf(i).toLowerCase().includes(wanted)) : indices;
}

// -- clusters ---------------------------------------------------------------------------------

const members = clusters.map(() => []);
images.label.forEach((c, i) => members[c].push(i));

function card(c) {
  const { color, size, typical, borderline } = clusters[c];
  const swatch = make("span", { class: "swatch" });
  swatch.style.background = color;
  const filled = make("i");
  filled.style.cssText = `width:${(100 * size) / Math.max(...clusters.map((k) => k.size))}%;background:${color}`;
  const all = make("button", { type: "button", "data-cluster": c }, `All ${plural(size, "image")}`);
  const article = make("article", { class: "card" });
  article.append(
    make("div", { class: "bar" }, make("h3", {}, swatch, clusterName(c)), all),
    make("div", { class: "share", "aria-hidden": "true" }, filled),
    make("h4", {}, "most typical"),
    make("div", { class: "images" }, ...typical.map(thumb)),
  );
  if (borderline.length) {
    const row = make("div", { class: "images" }, ...borderline.map(thumb));
    article.append(make("h4", {}, "borderline"), row);
  }
  return article;
}

function drawClusters(order) {
  const sorts = {
    shown: () => 0,
    largest: (a, b) => clusters[b].size - clusters[a].size,
    smallest: (a, b) => clusters[a].size - clusters[b].size,
  };
  const sorted = clusters.map((_, c) => c).sort(sorts[order]);
  const root = $("#clusters .cards");
  let shown = 0;
  const more = make("button", { type: "button" });
  function next() {
    more.before(...sorted.slice(shown, (shown += CARDS)).map(card));
    more.hidden = shown >= sorted.length;
    more.textContent = `Show more clusters (${sorted.length - shown} left)`;
  }
  more.addEventListener("click", next);
  root.replaceChildren(more);
  next();
}

// -- dialogs ----------------------------------------------------------------------------------

const orders = {
  typical: (a, b) => images.own[b] - images.own[a],
  borderline: (a, b) => images.lead[a] - images.lead[b],
  name: (a, b) => nameOf(a).localeCompare(nameOf(b), "en", { numeric: true }),
};

function openMembers(title, note, indices) {
  const dialog = $("#members");
  const [order, filter] = [$("select", dialog), $("input", dialog)];
  $("h2", dialog).textContent = title;
  filter.value = "";
  const draw = () => {
    const sorted = [...indices].sort(orders[order.value]);
    const found = search(sorted, filter.value);
    $("p", dialog).textContent =
      found.length < sorted.length ? `${plural(found.length, "image")} of ${sorted.length.toLocaleString("en")}.` : note;
    list($(".images", dialog), found);
  };
  order.onchange = draw;
  filter.oninput = draw;
  draw();
  dialog.showModal();
  dialog.scrollTop = 0;
}

function openCluster(c) {
  const { size } = clusters[c];
  const some = members[c].length < size;
  const note = some
    ? `${plural(members[c].length, "image")} of ${size.toLocaleString("en")}: this page holds a sample.`
    : plural(size, "image");
  openMembers(clusterName(c), note, members[c]);
}

function openImage(i) {
  const dialog = $("#image");
  $("h2", dialog).textContent = nameOf(i);
  $(".large", dialog).replaceChildren(picture(i));
  const facts = [["Cluster", clusterLink(images.label[i])]];
  if (images.other[i] !== NONE) facts.push(["Next best", clusterLink(images.other[i])]);
  if (images.classes && images.classes[i] !== NONE) facts.push(["Class", classes[images.classes[i]]]);
  facts.push(["Number", images.index[i].toLocaleString("en")]);
  if (report.folder !== null && images.names) {
    const href = report.folder + images.names[i].split("/").map(encodeURIComponent).join("/");
    facts.push(["File", make("a", { href, target: "_blank", rel: "noopener" }, "open the original")]);
  }
  const rows = facts.flatMap(([term, fact]) => [make("dt", {}, term), make("dd", {}, fact)]);
  $("dl", dialog).replaceChildren(...rows);
  const count = report.neighbors;
  list($(".images", dialog), [...images.near.slice(i * count, (i + 1) * count)]);
  if (dialog.open) $("h2", dialog).focus(); // what had the focus is no more
  else dialog.showModal();
  dialog.scrollTop = 0;
}

function clusterLink(c) {
  return make("button", { type: "button", "data-cluster": c }, clusterName(c));
}

// Whether a click on a dialog is one on its backdrop.
function isOutside({ target, clientX: x, clientY: y }) {
  const { left, right, top, bottom } = target.getBoundingClientRect();
  return x < left || x > right || y < top || y > bottom;
}

document.addEventListener("click", (event) => {
  const target = event.target.closest("[data-image], [data-cluster], [data-close], [data-cell]");
  if (target === null) {
    if (event.target instanceof HTMLDialogElement && isOutside(event)) event.target.close();
  } else if ("image" in target.dataset) openImage(Number(target.dataset.image));
  else if ("cluster" in target.dataset) {
    for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
    openCluster(Number(target.dataset.cluster));
  } else if ("close" in target.dataset) target.closest("dialog").close();
  else openCell(...target.dataset.cell.split(",").map(Number));
});

// -- map --------------------------------------------------------------------------------------

const canvas = $("#map canvas");
const tip = $("#map .tip");
const points = [...images.index.keys()].filter((i) => images.x[i] !== NONE);
const view = { scale: 1, x: 0, y: 0 }; // pixels = position * size * scale + offset
const chosen = new Set(); // clusters; none stands for all
const bitmaps = new Map();
const THUMBNAILS = 220; // points in sight below which they are pictures

const side = () => Math.min(canvas.clientWidth, canvas.clientHeight) * 0.94;
const at = (i) => [
  ((images.x[i] / 65534 - 0.5) * side()) * view.scale + view.x + canvas.clientWidth / 2,
  ((0.5 - images.y[i] / 65534) * side()) * view.scale + view.y + canvas.clientHeight / 2,
];
const isChosen = (i) => chosen.size === 0 || chosen.has(images.label[i]);

let waiting = false;
function redraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    drawMap();
  });
}

function drawMap() {
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const density = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * density) || canvas.height !== Math.round(height * density)) {
    canvas.width = Math.round(width * density);
    canvas.height = Math.round(height * density);
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(density, 0, 0, density, 0, 0);
  pen.clearRect(0, 0, width, height);
  const inSight = points.filter((i) => {
    const [x, y] = at(i);
    return x > -40 && y > -40 && x < width + 40 && y < height + 40;
  });
  if (!inSight.length) {
    pen.fillStyle = getComputedStyle(canvas).color;
    pen.textAlign = "center";
    pen.font = "16px system-ui, sans-serif";
    pen.fillText("No image is here: Show all, or press 0", width / 2, height / 2);
  }
  const pictures = inSight.length <= THUMBNAILS;
  const radius = Math.min(7, Math.max(2.2, 1.6 + Math.sqrt(view.scale)));
  for (const i of inSight.sort((a, b) => isChosen(a) - isChosen(b))) {
    const [x, y] = at(i);
    pen.globalAlpha = isChosen(i) ? 0.85 : 0.1;
    if (pictures) drawPicture(pen, i, x, y);
    else {
      pen.fillStyle = clusters[images.label[i]].color;
      pen.beginPath();
      pen.arc(x, y, radius, 0, 2 * Math.PI);
      pen.fill();
    }
  }
  pen.globalAlpha = 1;
}

function drawPicture(pen, i, x, y) {
  const { sheet, row, column } = place(i);
  if (!bitmaps.has(sheet)) {
    const image = new Image();
    image.addEventListener("load", redraw);
    image.src = sheetURL(sheet);
    bitmaps.set(sheet, image);
  }
  const [w, h] = report.tile;
  const width = 40 * Math.min(1, w / h);
  const height = (width * h) / w;
  pen.fillStyle = clusters[images.label[i]].color;
  pen.fillRect(x - width / 2 - 2.5, y - height / 2 - 2.5, width + 5, height + 5);
  const image = bitmaps.get(sheet);
  if (image.complete && image.naturalWidth) {
    pen.imageSmoothingEnabled = !report.pixels;
    pen.drawImage(image, column * w, row * h, w, h, x - width / 2, y - height / 2, width, height);
  }
}

function zoom(factor, x = canvas.clientWidth / 2, y = canvas.clientHeight / 2) {
  const scale = Math.min(2 * Math.sqrt(points.length) + 4, Math.max(0.5, view.scale * factor));
  const [dx, dy] = [x - canvas.clientWidth / 2, y - canvas.clientHeight / 2];
  view.x = dx - ((dx - view.x) * scale) / view.scale;
  view.y = dy - ((dy - view.y) * scale) / view.scale;
  view.scale = scale;
  redraw();
}

function nearest(x, y) {
  let [best, least] = [null, 20 ** 2];
  for (const i of points) {
    if (!isChosen(i)) continue;
    const [px, py] = at(i);
    const distance = (px - x) ** 2 + (py - y) ** 2;
    if (distance < least) [best, least] = [i, distance];
  }
  return best;
}

function showTip(i, x, y) {
  tip.hidden = i === null;
  canvas.style.cursor = i === null ? "grab" : "pointer";
  if (i === null) return;
  tip.replaceChildren(picture(i), nameOf(i), make("br"), clusterName(images.label[i]));
  tip.style.left = `${Math.min(x + 14, canvas.clientWidth - tip.offsetWidth - 4)}px`;
  tip.style.top = `${Math.max(4, Math.min(y + 14, canvas.clientHeight - tip.offsetHeight - 4))}px`;
}

function watchMap() {
  const pointers = new Map();
  let moved = 0;
  const spread = () => {
    const [a, b] = [...pointers.values()];
    return Math.hypot(a.x - b.x, a.y - b.y);
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    moved = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const now = { x: event.offsetX, y: event.offsetY };
    const before = pointers.get(event.pointerId);
    if (!before) {
      showTip(nearest(now.x, now.y), now.x, now.y);
      return;
    }
    moved += Math.hypot(now.x - before.x, now.y - before.y);
    if (pointers.size === 2) {
      const wide = spread();
      pointers.set(event.pointerId, now);
      const [a, b] = [...pointers.values()];
      zoom(spread() / (wide || 1), (a.x + b.x) / 2, (a.y + b.y) / 2);
      return;
    }
    pointers.set(event.pointerId, now);
    view.x += now.x - before.x;
    view.y += now.y - before.y;
    showTip(null);
    redraw();
  });
  const release = (event) => pointers.delete(event.pointerId);
  canvas.addEventListener("pointerup", (event) => {
    release(event);
    const i = moved < 6 && pointers.size === 0 ? nearest(event.offsetX, event.offsetY) : null;
    if (i !== null) openImage(i);
  });
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => showTip(null));
  canvas.addEventListener(
    "wheel",
    (event) => {
      // Only a map that has the focus takes the wheel: others let the page scroll.
      if (document.activeElement !== canvas && !event.ctrlKey) return;
      event.preventDefault();
      zoom(Math.exp(-event.deltaY / 300), event.offsetX, event.offsetY);
    },
    { passive: false },
  );
  canvas.addEventListener("dblclick", (event) => zoom(2, event.offsetX, event.offsetY));
  canvas.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
    if (event.key in steps) {
      view.x += steps[event.key][0];
      view.y += steps[event.key][1];
      redraw();
    } else if (event.key === "+" || event.key === "=") zoom(1.5);
    else if (event.key === "-") zoom(1 / 1.5);
    else if (event.key === "0") showAll();
    else if (event.key === "Enter") {
      const i = nearest(canvas.clientWidth / 2, canvas.clientHeight / 2);
      if (i !== null) openImage(i);
    } else return;
    event.preventDefault();
  });
  new ResizeObserver(redraw).observe(canvas);
}

function showAll() {
  Object.assign(view, { scale: 1, x: 0, y: 0 });
  redraw();
}

function startMap() {
  const words = `${report.map} of the embedding, ${plural(points.length, "image")}, coloured by cluster. `;
  $("#map-words").textContent =
    `${words}Click the map, then zoom by wheel, fingers or the keys + and −, move by dragging or arrow keys; ` +
    "a click on a point, or Enter at the middle, opens the image. Distances between far groups mean nothing.";
  const zooms = { in: () => zoom(1.5), out: () => zoom(1 / 1.5), all: showAll };
  for (const button of document.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", zooms[button.dataset.zoom]);
  }
  $("#map .legend").append(
    ...clusters.map((cluster, c) => {
      const swatch = make("span", { class: "swatch" });
      swatch.style.background = cluster.color;
      const button = make("button", { type: "button", "aria-pressed": "false" }, swatch, clusterName(c));
      button.addEventListener("click", () => {
        if (!chosen.delete(c)) chosen.add(c);
        button.setAttribute("aria-pressed", String(chosen.has(c)));
        redraw();
      });
      return button;
    }),
  );
  watchMap();
}

// -- classes ----------------------------------------------------------------------------------

function openCell(row, column) {
  const { rows, columns } = report.confusion;
  const found = members[columns[column]].filter((i) => images.classes[i] === rows[row]);
  const count = report.confusion.counts[row][column];
  const note = found.length < count ? `${plural(found.length, "image")} of ${count}: a sample.` : "";
  openMembers(`Class ${classes[rows[row]]} in ${clusterName(columns[column])}`, note, found);
}

function startClasses() {
  const { rows, columns, counts, words } = report.confusion;
  $("#classes").hidden = $('nav a[href="#classes"]').hidden = false;
  $("#classes-words").textContent = words;
  const head = columns.map((c) => make("th", { scope: "col" }, clusterName(c)));
  const body = rows.map((r, y) => {
    const total = counts[y].reduce((sum, count) => sum + count, 0) || 1;
    const cells = counts[y].map((count, x) => {
      const button = make("button", { type: "button", "data-cell": `${y},${x}` }, String(count));
      button.disabled = count === 0;
      button.setAttribute("aria-label", `class ${classes[r]}, ${clusterName(columns[x])}: ${count}`);
      const strength = Math.round(100 * Math.sqrt(count / total) * 0.65); // text stays legible
      button.style.background = `color-mix(in srgb, #3f90da ${strength}%, var(--card))`;
      return make("td", {}, button);
    });
    return make("tr", {}, make("th", { scope: "row" }, classes[r]), ...cells);
  });
  const table = make("table", { class: "counts" });
  table.append(
    make("thead", {}, make("tr", {}, make("td"), ...head)),
    make("tbody", {}, ...body),
  );
  $("#classes .wide").append(table);
}

// -- training ---------------------------------------------------------------------------------

const SVG = "http://www.w3.org/2000/svg";
function draw(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function figure(value) {
  if (value === null) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 100000)) return value.toExponential(2);
  return String(Number(value.toPrecision(4)));
}

function curve({ name, words, values }) {
  const known = values.filter((value) => value !== null);
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const svg = draw("svg", { viewBox: "0 0 240 90", role: "img" });
  svg.setAttribute("aria-label", `${name} from ${figure(known[0])} to ${figure(known.at(-1))}`);
  const x = (e) => 4 + (232 * e) / Math.max(1, values.length - 1);
  const y = (value) => 84 - 78 * ((value - low) / (high - low || 1));
  const line = values.map((value, e) => (value === null ? null : `${x(e).toFixed(1)},${y(value).toFixed(1)}`));
  svg.append(
    draw("line", { x1: 4, y1: 86, x2: 236, y2: 86, stroke: "var(--line)" }),
    draw("polyline", {
      points: line.filter((point) => point !== null).join(" "),
      fill: "none",
      stroke: "var(--accent)",
      "stroke-width": 1.8,
      "stroke-linejoin": "round",
    }),
  );
  const caption = make("figcaption", {}, make("strong", {}, name));
  const range = `${figure(known[0])} → ${figure(known.at(-1))}, between ${figure(low)} and ${figure(high)}`;
  caption.append(make("span", { class: "faint" }, range), make("span", { class: "faint" }, words));
  return make("figure", {}, caption, svg);
}

// -- the page ---------------------------------------------------------------------------------

function start() {
  $("#health ul").append(
    ...report.health.map(({ kind, text }) => make("li", { class: `note ${kind}` }, text)),
  );
  if (classes.length) $('#cluster-order [value="shown"]').textContent = "by class";
  $("#cluster-order").addEventListener("change", (event) => drawClusters(event.target.value));
  drawClusters("shown");
  startMap();
  if (report.confusion) startClasses();
  if (report.curves.length) {
    $("#training").hidden = $('nav a[href="#training"]').hidden = false;
    $("#training .curves").append(...report.curves.map(curve));
  }
  const rows = report.parameters.map(([name, value, own]) =>
    make("tr", {}, make("th", { scope: "row" }, name), make("td", { class: own ? "own" : "" }, value)),
  );
  $("#settings .wide").append(make("table", {}, make("tbody", {}, ...rows)));
  if (report.skipped.length) {
    $("#skipped").hidden = false;
    $("#skipped ul").append(...report.skipped.map((name) => make("li", {}, name)));
  }
  $("form").addEventListener("submit", (event) => event.preventDefault());
  $("#search").addEventListener("input", (event) => {
    const wanted = event.target.value.trim();
    const found = search([...images.index.keys()], wanted);
    $("#found").hidden = wanted === "";
    $("#found-title").textContent = `${plural(found.length, "image")} with “${wanted}” in the name`;
    list($("#found .images"), wanted === "" ? [] : found);
  });
}

start();
