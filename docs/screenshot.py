"""Make docs/_static/report.png: the report on the digits, in Chromium without a window.

python docs/screenshot.py [FOLDER]

The report itself is left in FOLDER, if one is given.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from skdeepclust import CDCClustering
from skdeepclust.datasets import load_digits_images
from skdeepclust.inspection import ClusterReport

PICTURE = Path(__file__).parent / "_static" / "report.png"


def main(folder):
    images, target = load_digits_images(return_X_y=True)
    model = CDCClustering(n_clusters=10, random_state=0).fit(images)
    path = Path(folder) / "report.html"
    title = "Handwritten digits"
    ClusterReport.from_estimator(model, images, y=target, title=title).save(path)
    browser = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))))
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 1180, "height": 1400})
        page.goto(path.absolute().as_uri())
        page.wait_for_timeout(500)
        page.screenshot(path=PICTURE, clip=clip(page))
        chromium.close()


def clip(page):
    """Two rows of clusters, and the map below them: what lies between is taken out."""
    page.add_style_tag(content=".card:nth-of-type(n + 5), #map .tools, #map p { display: none }")
    page.wait_for_timeout(500)
    bottom = page.locator("#map .plane").bounding_box()
    return {"x": 0, "y": 0, "width": 1180, "height": bottom["y"] + bottom["height"] + 16}


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as scratch:
            main(scratch)
