"""A day in the lab: a phone, a desktop, a robot and a spreadsheet at once, and somebody pulls the plug."""

from __future__ import annotations

import httpx
import pytest

from matloop.orchestrator.ledger.ledger import read
from tests.orchestrator.web.browsing import fits

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright, of the extra 'dev'")
PATIENCE_MS = 60_000
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


def visit(browser, url, **options):
    """A new visitor's page; what goes wrong in it fails the test."""
    page = browser.new_context(**options).new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.goto(url)
    return page


def card(page, trial):
    return page.locator(f"#e{trial}")


def open_form(page, trial, button):
    card(page, trial).get_by_text(button, exact=True).click()
    return card(page, trial).locator("details[open] > form")


def flash(page):
    return page.locator("main > .flash").inner_text()


def test_a_day_in_the_lab(browser, serve, lab, tmp_path):
    server = serve()
    with httpx.Client(base_url=server.url) as robot:
        day(browser, server, robot, tmp_path / "filled.csv")
    assert server.stop() == 0
    check(read(lab.directory / "ledger.db").trials)


def day(browser, server, robot, file):
    """What everybody does, and sees."""
    phone, desktop = visit(browser, server.url, **PHONE), visit(browser, server.url)

    # Ana asks from her phone; Ben's screen and the robot see it without being told.
    phone.fill("#n", "4")
    phone.get_by_role("button", name="Recommend").click()
    assert flash(phone) == "4 recommendations more."
    desktop.wait_for_selector("#e3")
    assert len(robot.get("/api/experiments", params={"state": "to do"}).json()) == 4

    # A result with a decimal comma and its uncertainty, after a slip of the pen.
    form = open_form(phone, 0, "Enter result")
    form.get_by_label("yield", exact=True).fill("61,5 mg")
    form.get_by_label("± if known").fill("0,8")
    form.get_by_label("Your name").fill("Ana")
    form.get_by_role("button", name="Record result").click()
    assert "expected a number in %, got '61,5 mg'" in phone.locator(".problem").inner_text()
    assert phone.evaluate("document.body.dataset.version") == ""  # this page is not refreshed under her hands
    form = card(phone, 0).locator("details[open] > form")
    assert form.get_by_label("± if known").input_value() == "0,8"
    form.get_by_label("yield", exact=True).fill("61,5 %")
    form.get_by_role("button", name="Record result").click()
    assert flash(phone) == "The result of experiment 0 is recorded."

    # Experiment 1 is done differently; a value that nobody expected has to be confirmed.
    form = open_form(phone, 1, "Enter result")
    assert form.get_by_label("Your name").input_value() == "Ana"
    form.get_by_label("yield", exact=True).fill("104")
    form.get_by_text("Something was done differently").click()
    form.get_by_label("temperature").fill("777.25")
    form.get_by_label("Note").fill("thermostat drifted")
    form.get_by_role("button", name="Record result").click()
    assert "0 to 100 %" in phone.locator(".problem").first.inner_text()
    form = card(phone, 1).locator("details[open] > form")
    assert form.get_by_label("temperature").input_value() == "777.25"
    form.get_by_label("It is right although it is unusual").check()
    form.get_by_role("button", name="Record result").click()
    assert flash(phone) == "The result of experiment 1 is recorded."

    # Ben reports a failure; the robot answers at the same time, twice, because it lost the first answer.
    form = open_form(desktop, 2, "It failed")
    form.get_by_label("What happened").fill("cracked on cooling")
    form.get_by_label("Your name").fill("Ben")
    form.get_by_role("button", name="Record failure").click()
    assert flash(desktop) == "The failure of experiment 2 is recorded."
    point = {"temperature": 450, "solvent": "water", "hours": 5}
    told = {
        "by": "robot",
        "results": [{"trial": 3, "values": {"yield": 33}}, {"point": point, "values": {"yield": 44}, "request": "r1"}],
    }
    assert robot.post("/api/results", json=told).json() == robot.post("/api/results", json=told).json()

    # Two more; the plug is pulled while Ana types the result of the first.
    phone.fill("#n", "2")
    phone.get_by_role("button", name="Recommend").click()
    form = open_form(phone, 5, "Enter result")
    form.get_by_label("yield", exact=True).fill("55.5")
    form.get_by_label("Note").fill("late")
    own = {"point": {**point, "hours": 6}, "values": {"yield": 11}}
    robot.post("/api/results", json={"by": "robot", "results": [own]}).raise_for_status()
    phone.locator('.recent a[href="/experiments/7"]').wait_for()
    assert form.get_by_label("yield", exact=True).input_value() == "55.5"
    server.kill()
    phone.wait_for_selector(".live.off")
    with pytest.raises(httpx.TransportError):
        robot.get("/api/study")

    # It comes back where it was: the same list, and what was typed is still there.
    server.start(server.port)
    phone.wait_for_selector(".live:not(.off)")
    assert form.get_by_label("yield", exact=True).input_value() == "55.5"
    form.get_by_role("button", name="Record result").click()
    assert flash(phone) == "The result of experiment 5 is recorded."

    # The spreadsheet: downloaded, filled in, uploaded twice.
    sheet = robot.get("/api/next.csv").content.decode("utf-8-sig").splitlines()
    titles = sheet[0].split(",")
    assert len(sheet) == 2 and sheet[1].startswith("6,")
    cells = dict(zip(titles, sheet[1].split(","), strict=True)) | {"yield (%)": "66", "note": "by hand"}
    file.write_text(",".join(titles) + "\n" + ",".join(cells.values()) + "\n", encoding="utf-8")
    for said in ("1 result recorded from the file.", "No results recorded from the file."):
        desktop.goto(server.url)
        desktop.get_by_text("CSV files").click()
        desktop.set_input_files("#file", file)
        desktop.get_by_role("button", name="Upload").click()
        assert flash(desktop) == said

    # The history says who did what; nothing is lost, nothing doubled.
    desktop.get_by_role("link", name="History").click()
    desktop.wait_for_url("**/history")
    history = desktop.locator(".rows").inner_text()
    for words in ("done differently", "cracked on cooling", "not recommended", "thermostat drifted", "Ben", "robot"):
        assert words in history, words
    assert phone.problems == [] and desktop.problems == []


def check(trials):
    """Every result is on record once, as it was reported."""
    values = [None if t.values is None else t.values["yield"] for t in trials]
    assert values == [61.5, 104, None, 33, 44, 55.5, 66, 11]
    assert [t.worker for t in trials[:6]] == ["Ana", "Ana", "Ben", "robot", "robot", "Ana"]
    assert trials[0].noise == {"yield": 0.8} and trials[1].point["temperature"] == 777.25
    assert trials[1].planned["temperature"] != 777.25 and trials[1].planned["solvent"] == trials[1].point["solvent"]
    assert trials[2].failure.message == "cracked on cooling" and trials[4].extra["origin"] == "reported"
    assert trials[6].planned is None and trials[6].info["note"] == "by hand"


def test_signing_in_and_pages_that_fit_with_and_without_scripts(browser, serve, lab):
    server = serve("--host", "0.0.0.0")
    token = server.campaign.parent.joinpath("run", "serve.token").read_text(encoding="utf-8").strip()
    assert token in server.said
    phone = sign_in(visit(browser, server.url, **PHONE), token)
    phone.fill("#n", "2")
    phone.get_by_role("button", name="Recommend").click()
    playwright.expect(phone.locator("article.card")).to_have_count(2, timeout=PATIENCE_MS)

    plain = sign_in(visit(browser, server.url, java_script_enabled=False), token)
    form = open_form(plain, 0, "Enter result")
    form.get_by_label("yield", exact=True).fill("12")
    form.get_by_role("button", name="Record result").click()
    assert flash(plain) == "The result of experiment 0 is recorded."
    assert lab.trials()[0].values == {"yield": 12}

    for width, scheme in ((320, "dark"), (1280, "light")):
        page = sign_in(visit(browser, server.url, viewport={"width": width, "height": 800}, color_scheme=scheme), token)
        for path in ("/history", "/experiments/0", "/api/docs", "/"):
            page.goto(server.url + path)
            fits(page, width)
        assert page.problems == []

    phone.get_by_role("button", name="Sign out").click()
    phone.wait_for_selector("#token")
    phone.goto(f"{server.url}/history")
    assert phone.locator("#token").count() == 1 and "furnace" not in phone.content()


def sign_in(page, token):
    """Show the token."""
    assert "furnace" not in page.content()
    page.fill("#token", token)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_selector("#n")
    return page
