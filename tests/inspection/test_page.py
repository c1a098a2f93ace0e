"""The report as a person meets it, in Chromium without a window: pytest -m browser."""

import shutil
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np
import pytest
from PIL import Image

from skdeepclust import BackboneKMeans
from skdeepclust.datasets import load_digits_images
from skdeepclust.inspection import ClusterReport

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]
N = 300


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        made = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    images, target = load_digits_images(return_X_y=True)
    model = BackboneKMeans(10, backbone="identity", weights=None, random_state=0).fit(images[:N])
    options = {"y": target[:N], "map_method": "pca"}
    ClusterReport.from_estimator(model, images[:N], **options).save(path)
    return path, model, target[:N]


def opened(browser, path, **options):
    """A page, and the list of what went wrong on it."""
    page, faults = browser.new_page(**options), []
    page.on("console", lambda message: faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on(
        "request",
        lambda request: (
            faults.append(request.url)
            if not request.url.startswith(("data:", path.as_uri()))
            else None
        ),
    )
    page.goto(path.as_uri())
    return page, faults


@pytest.fixture
def page(browser, digits):
    found, faults = opened(browser, digits[0])
    yield found
    found.close()
    assert not faults


def test_it_shows_each_cluster_and_its_pictures(page, digits):
    _, model, _ = digits
    cards = page.locator(".card")
    assert cards.count() == 10
    sizes = [int(text.split()[1]) for text in page.locator("[data-cluster]").all_inner_texts()]
    assert sorted(sizes) == sorted(np.bincount(model.labels_))
    background = page.locator(".card .picture").first.evaluate(
        "e => getComputedStyle(e).background"
    )
    assert "data:image/webp" in background


def test_clusters_can_be_ordered(page):
    page.select_option("#cluster-order", "largest")
    sizes = [int(text.split()[1]) for text in page.locator("[data-cluster]").all_inner_texts()]
    assert sizes == sorted(sizes, reverse=True)


def test_a_click_shows_all_members_and_escape_closes(page):
    button = page.locator("[data-cluster]").first
    size = int(button.inner_text().split()[1])
    button.click()
    members = page.locator("#members")
    assert members.is_visible()
    assert members.locator(".thumb").count() == size
    page.keyboard.press("Escape")
    assert not members.is_visible()


def test_only_a_click_beside_a_dialog_closes_it(page):
    page.locator("[data-cluster]").first.click()
    members = page.locator("#members")
    box = members.bounding_box()
    page.mouse.click(box["x"] + 4, box["y"] + box["height"] / 2)  # its own margin
    assert members.is_visible()
    page.mouse.click(box["x"] - 4, box["y"] + box["height"] / 2)
    assert not members.is_visible()


def test_members_can_be_filtered_and_ordered(page):
    page.locator("[data-cluster]").first.click()
    members = page.locator("#members")
    names = members.locator(".thumb").evaluate_all("all => all.map(e => e.title)")
    page.fill("#members input", "image 1")
    kept = members.locator(".thumb").evaluate_all("all => all.map(e => e.title)")
    assert sorted(kept) == sorted(name for name in names if "image 1" in name)
    page.fill("#members input", "")
    page.select_option("#members select", "name")
    ordered = members.locator(".thumb").evaluate_all("all => all.map(e => e.title)")
    numbers = [int(name.split(",")[0].split()[1]) for name in ordered]
    assert numbers == sorted(numbers)


def test_search_finds_images_by_name(page):
    page.fill("#search", "image 29")
    assert page.locator("#found h2").inner_text().startswith("11 images")  # 29, 290 to 299
    assert page.locator("#found .thumb").count() == 11
    page.fill("#search", "nothing of that name")
    assert page.locator("#found .thumb").count() == 0
    page.fill("#search", "")
    assert not page.locator("#found").is_visible()


def test_an_image_leads_to_its_neighbours_and_its_cluster(page, digits):
    _, model, target = digits
    page.locator(".card .thumb").first.click()
    title = page.locator("#image-title")
    first = int(title.inner_text().split()[1])
    facts = page.locator("#image dl").inner_text()
    assert f"cluster {model.labels_[first]}" in facts
    assert f"Class\n{target[first]}" in facts
    near = page.locator("#image .near .thumb")
    assert near.count() == 8
    near.first.click()
    second = int(title.inner_text().split()[1])
    assert second != first
    assert page.evaluate("document.activeElement.id") == "image-title"
    page.locator("#image dl [data-cluster]").first.click()
    assert not page.locator("#image").is_visible()
    assert f"cluster {model.labels_[second]}" in page.locator("#members-title").inner_text()


def test_the_keyboard_alone_opens_and_closes(page):
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the clusters"
    page.locator(".card .thumb").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("#image").is_visible()
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.className") == "thumb"


def pixels(page):
    return page.locator("canvas").evaluate("e => e.toDataURL()")


def test_the_map_zooms_moves_and_shows_all_again(page):
    canvas = page.locator("canvas")
    canvas.scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    before = pixels(page)
    canvas.focus()
    for keys in (["+", "+", "ArrowLeft"], ["0"]):
        for key in keys:
            page.keyboard.press(key)
        page.wait_for_timeout(200)
        assert (pixels(page) == before) == (keys == ["0"])
    page.locator('[data-zoom="in"]').click()
    page.wait_for_timeout(200)
    assert pixels(page) != before


def test_the_map_tells_of_the_point_below_the_mouse_and_opens_it(page):
    canvas = page.locator("canvas")
    canvas.scroll_into_view_if_needed()
    spot = page.evaluate("at(points[7])")
    canvas.hover(position={"x": spot[0], "y": spot[1]})
    tip = page.locator(".tip")
    assert tip.is_visible() and tip.locator(".picture").count() == 1
    name = tip.inner_text().splitlines()[0].strip()
    canvas.click(position={"x": spot[0], "y": spot[1]})
    assert page.locator("#image-title").inner_text() == name


def test_the_legend_fades_other_clusters(page):
    page.locator("canvas").scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    before = pixels(page)
    chip = page.locator(".legend button").first
    chip.click()
    page.wait_for_timeout(200)
    assert chip.get_attribute("aria-pressed") == "true"
    assert pixels(page) != before


def test_a_cell_shows_the_images_of_a_class_in_a_cluster(page, digits):
    _, model, target = digits
    cell = page.locator(".counts tbody tr").nth(3).locator("button").nth(3)
    count = int(cell.inner_text())
    cell.click()
    title = page.locator("#members-title").inner_text()
    k = int(title.rpartition("cluster ")[2].rstrip(")"))
    assert title.startswith("Class 3 in ")
    assert page.locator("#members .thumb").count() == count
    assert count == ((target == 3) & (model.labels_ == k)).sum() > 0


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_it_fits_the_screen(browser, digits, width):
    page, faults = opened(browser, digits[0], viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator(".card .thumb").first.click()
    box = page.locator("#image").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= width
    page.close()
    assert not faults


def contrast(page, selector):
    """Of text to its background, after WCAG 2.2."""
    found = page.evaluate(
        """selector => {
            const element = document.querySelector(selector);
            const colour = (e) => getComputedStyle(e).backgroundColor;
            const clear = (e) => colour(e) === "rgba(0, 0, 0, 0)";
            let below = element;
            while (clear(below)) below = below.parentElement;
            const often = { willReadFrequently: true };
            const pen = document.createElement("canvas").getContext("2d", often);
            return [getComputedStyle(element).color, colour(below)].map((paint) => {
                pen.fillStyle = paint;
                pen.fillRect(0, 0, 1, 1);
                return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3);
            });
        }""",
        selector,
    )
    light = []
    for rgb in found:
        value = np.array(rgb) / 255
        linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
        light.append(linear @ [0.2126, 0.7152, 0.0722] + 0.05)
    return max(light) / min(light)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_colour_schemes(browser, digits, scheme):
    page, faults = opened(browser, digits[0], color_scheme=scheme)
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 22, 26)"}[scheme]
    fullest = ".counts tbody tr:first-child td button"
    for selector in ("body", "a", ".faint", "footer", ".card h4", ".note", ".tools", fullest):
        assert contrast(page, selector) >= 4.5
    page.close()
    assert not faults


def test_every_control_has_a_name(page):
    page.locator(".card .thumb").first.click()
    nameless = page.evaluate(
        """[...document.querySelectorAll('button, input, select, a')].filter(e =>
            !(e.getAttribute('aria-label') || e.textContent.trim() || (e.labels || []).length)
        ).length"""
    )
    assert nameless == 0


def test_hostile_names_are_text(browser, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, name in enumerate(["<img src=x onerror=alert(1)>", "#100%?", "ä ö", "z" * 90]):
        Image.fromarray(np.full((9, 9), 60 * i, np.uint8)).save(folder / f"{name}.png")
    labels = np.array([0, 0, 1, 1])
    report = ClusterReport.from_predictions(
        folder,
        labels,
        embedding=np.eye(4),
        y=["<b>bold</b>", "</script>", "x", "x"],
        map_method="pca",
    )
    report.save(tmp_path / "report.html")
    page, faults = opened(browser, tmp_path / "report.html")
    assert page.locator("main b, main img").count() == 0
    for thumb in page.locator(".card .thumb").all():
        thumb.click()
        link = page.locator("#image dl a").evaluate("e => e.href")
        linked = Path(url2pathname(urlsplit(link).path))
        assert linked == folder / page.locator("#image-title").inner_text()
        assert linked.exists()
        page.keyboard.press("Escape")
    page.close()
    assert not faults
