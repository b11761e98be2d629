"""The review page: what the server lets through, that it loses nothing, and a browser that works it by keys alone."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from toys import box, make_candidates, write_ids

from curation.candidates import CandidateSet
from curation.review.decisions import append_decisions, decide, read_decisions

pytest.importorskip("starlette", reason="the review page needs: pip install 'icvos[review]'")
pytest.importorskip("uvicorn", reason="the review page needs: pip install 'icvos[review]'")

REX, TOM, MAN = "davis/rex/dog", "davis/tom/cat", "davis/tom/person"


class Server:
    """`icvos review` in a process of its own."""

    def __init__(self, candidates: Path, reviewer: str) -> None:
        words = [sys.executable, "-m", "icvos", "review", str(candidates), "--reviewer", reviewer, "--json"]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.facts = json.loads(self.process.stdout.readline())
        self.address: str = self.facts["address"]
        self.host, self.path = urlsplit(self.address).netloc, urlsplit(self.address).path

    def ask(self, path: str, method: str = "GET", body: bytes = b"", **headers: str | None) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body; a path that starts with a slash is taken as it is."""
        connection = http.client.HTTPConnection(self.host, timeout=60)
        given = {"Host": self.host} | {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(
            method, path if path.startswith("/") else self.path + path, body, {k: v for k, v in given.items() if v is not None}
        )
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, dict(answer.getheaders()), data

    def decide(self, **decision: Any) -> tuple[int, dict[str, Any]]:
        body = json.dumps(decision).encode()
        status, _, data = self.ask("api/decisions", "POST", body, Origin=f"http://{self.host}", Content_Type="application/json")
        return status, json.loads(data)

    def end(self, by: int = signal.SIGINT) -> int:
        if self.process.poll() is None:
            self.process.send_signal(by)
        code = self.process.wait(30)
        assert self.process.stdout
        self.process.stdout.close()
        return code


@pytest.fixture(scope="module")
def made(toy_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_candidates(tmp_path_factory.mktemp("made") / "set", toy_data / "DAVIS").path


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "candidates"))


@pytest.fixture
def start() -> Iterator[Callable[[Path, str], Server]]:
    servers: list[Server] = []

    def begin(candidates: Path, reviewer: str) -> Server:
        servers.append(Server(candidates, reviewer))
        return servers[-1]

    yield begin
    for server in servers:
        server.end(signal.SIGKILL)


@pytest.fixture(scope="module")
def shared(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for tests that decide nothing."""
    server = Server(Path(shutil.copytree(made, tmp_path_factory.mktemp("shared") / "candidates")), "ann")
    yield server
    server.end()


def test_the_page_is_its_own_and_may_load_nothing_else(shared: Server) -> None:
    assert urlsplit(shared.address).hostname == "127.0.0.1"
    for path, kind in (("", "text/html"), ("review.js", "text/javascript"), ("review.css", "text/css"), ("review.svg", "image/svg+xml")):
        status, headers, body = shared.ask(path)
        assert (status, headers["content-type"].partition(";")[0]) == (200, kind)
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        words = body.decode().replace("http://www.w3.org/2000/svg", "")  # a name, which nobody fetches
        assert "http:" not in words
        assert "https:" not in words
        assert "innerHTML" not in words
    assert b"<script>" not in shared.ask("")[2]


def test_the_set_and_its_answers_are_told(shared: Server) -> None:
    facts = json.loads(shared.ask("api/set")[2])
    assert [tube["id"] for tube in facts["tubes"]] == [REX, TOM, MAN]
    assert facts["tubes"][0]["warnings"][0]["rule"] == "every-instance"
    assert (facts["reviewer"], len(facts["classes"]), facts["tubes"][2]["objects"]) == ("ann", 80, [2])
    assert json.loads(shared.ask("api/answers")[2]) == {"answers": {}, "agreements": []}


def test_pictures_are_drawn_once_and_kept(shared: Server) -> None:
    folder = Path(shared.facts["decisions"]).parent / "review-cache"
    for kind, start in (("first", b"\xff\xd8"), ("plain", b"\xff\xd8"), ("sheet", b"\xff\xd8"), ("clip", None)):
        status, headers, body = shared.ask(f"pictures/0/{kind}")
        assert status == 200
        assert body.startswith(start) if start else headers["content-type"] in {"video/mp4", "image/gif"}
        assert shared.ask(f"pictures/0/{kind}", "HEAD")[0] == 200
    files = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert len(files) == 4
    assert shared.ask("pictures/0/clip", Range="bytes=0-9")[0] == 206
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == files


@pytest.mark.parametrize(
    "path",
    [
        *("../decisions.jsonl", "../../etc/passwd", "%2e%2e/candidates.json", "..%2fcandidates.json", "pictures/../candidates.json"),
        *("pictures/0/../../candidates.json", "pictures/99/first", "pictures/-1/first", "pictures/0/else", "review.html", "server.py"),
        *("static/review.js", "api", "pictures/0/first%00", "/", "/favicon.ico", "//etc/passwd", "/wrong-token/api/set", "*"),
    ],
)
def test_no_path_leads_anywhere_else(shared: Server, path: str) -> None:
    status, _, body = shared.ask(path)
    assert status == 404
    assert b"icvos-candidates" not in body


def test_other_hosts_and_other_pages_are_refused(shared: Server) -> None:
    port = shared.host.partition(":")[2]
    assert shared.ask("api/set", Host=f"localhost:{port}")[0] == 200
    for host in (f"evil.example:{port}", "127.0.0.1", f"127.0.0.1.evil.example:{port}", f"127.0.0.1:{port}@evil"):
        assert shared.ask("api/set", Host=host)[0] == 421
    assert shared.ask("api/set", Sec_Fetch_Site="cross-site")[0] == 403
    body = json.dumps({"tube": REX, "verdict": "accept"}).encode()
    for headers, status in (
        ({"Origin": None}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": f"http://localhost:{port}"}, 403),  # the page was opened by the other name
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Length": "100000"}, 413),
    ):
        sent = {"Origin": f"http://{shared.host}", "Content_Type": "application/json", **headers}
        assert shared.ask("api/decisions", "POST", body, **sent)[0] == status
    assert shared.ask("api/decisions", "PUT", body, Origin=f"http://{shared.host}", Content_Type="application/json")[0] == 405
    assert not Path(shared.facts["decisions"]).exists()


@pytest.mark.parametrize(
    ("decision", "words"),
    [
        ({"tube": "davis/rex/dgo", "verdict": "accept"}, "did you mean davis/rex/dog"),
        ({"tube": REX, "verdict": "reject"}, "a reject without a reason"),
        ({"tube": REX, "verdict": "accept", "class_name": "dgo"}, "did you mean dog"),
        ({"tube": REX, "verdict": "accept", "reviewer": "somebody else"}, "not a decision"),
        ({"tube": [REX], "verdict": "accept"}, "not a decision"),
        ({"verdict": "undo"}, "nothing to undo"),
        ({}, "no such tube"),
    ],
)
def test_what_is_no_decision_is_refused_in_words(shared: Server, decision: dict[str, Any], words: str) -> None:
    status, said = shared.decide(**decision)
    assert status == 400
    assert words in said["error"]
    assert not Path(shared.facts["decisions"]).exists()


def test_a_body_that_is_no_json_is_refused(shared: Server) -> None:
    for body in (b"", b"[]", b"{", b"[" * 5000):
        sent = {"Origin": f"http://{shared.host}", "Content_Type": "application/json"}
        status, _, said = shared.ask("api/decisions", "POST", body, **sent)
        assert (status, "not a decision" in said.decode()) == (400, True)


def test_a_clip_that_cannot_be_read_is_told_in_words(folder: Path, toy_data: Path, tmp_path: Path, start: Callable[..., Server]) -> None:
    broken = Path(shutil.copytree(toy_data / "DAVIS", tmp_path / "DAVIS"))
    write_ids(broken / "Annotations/480p/rex/00003.png", box(0, 0, 1, 1, size=(3, 3)))
    (folder / "roots.json").write_text(json.dumps({"davis": str(broken)}))
    server = start(folder, "ann")
    status, _, said = server.ask("pictures/0/clip")
    assert status == 500
    assert "mask of another size than its clip" in json.loads(said)["error"]
    assert server.ask("pictures/1/clip")[0] == 200


def test_decisions_outlive_a_server_that_is_killed_and_two_servers_share_them(folder: Path, start: Callable[..., Server]) -> None:
    ann, ben = start(folder, "ann"), start(folder, "ben")
    assert ann.decide(tube=REX, verdict="accept")[1]["answer"]["mine"]["verdict"] == "accept"
    ann.decide(tube=TOM, verdict="unsure")
    ann.decide(tube=MAN, verdict="accept")
    assert ann.decide(verdict="undo")[1]["tube"] == MAN
    assert ann.end(signal.SIGKILL) == -signal.SIGKILL
    with (folder / "decisions.jsonl").open("a") as stream:
        stream.write('{"half a li')
    again = start(folder, "ann")
    answers = json.loads(again.ask("api/answers")[2])["answers"]
    assert {tube: answer["mine"]["verdict"] for tube, answer in answers.items()} == {REX: "accept", TOM: "unsure"}
    assert "half-written" in json.loads(again.ask("api/set")[2])["findings"][0]

    # Ben is not told what Ann said until there is a conflict.
    seen = json.loads(ben.ask("api/answers")[2])["answers"][REX]
    assert (seen["state"], seen["mine"], seen["others"], seen["reviewers"]) == ("open", None, [], 1)
    _, said = ben.decide(tube=REX, verdict="reject", reason="rough")
    assert said["answer"]["state"] == "conflict"
    assert [(one["reviewer"], one["verdict"]) for one in said["answer"]["others"]] == [("ann", "accept"), ("ben", "reject")]
    agreements = json.loads(ben.ask("api/answers")[2])["agreements"]
    assert [(pair["first"], pair["second"], pair["tubes"], pair["agreed"]) for pair in agreements] == [("ann", "ben", 1, 0)]
    _, said = again.decide(tube=REX, verdict="accept", class_name="cat", settles=True)
    assert (said["answer"]["state"], said["answer"]["settled"]["class_name"]) == ("accepted", "cat")
    assert again.decide(verdict="undo")[1]["answer"]["state"] == "conflict"
    assert again.end() == 130
    assert len(read_decisions(folder / "decisions.jsonl").decisions) == 7


def test_a_port_that_is_taken_is_told(shared: Server, folder: Path, icvos: Callable[..., Any]) -> None:
    said = icvos("review", folder, "--port", shared.host.partition(":")[2])
    assert said.code == 2
    assert "cannot listen: 127.0.0.1:" in said.err


@pytest.mark.parametrize("package", ["starlette.applications", "uvicorn"])
def test_what_the_page_needs_and_is_not_there_is_told(
    package: str, folder: Path, icvos: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    said = icvos("review", folder)
    assert said.code == 2
    assert "pip install 'icvos[review]'" in said.err
    assert icvos("review", folder, "--summary").code == 0


# A browser, worked by keys


class Page:
    """The page as somebody sees and works it."""

    def __init__(self, browser: Any, address: str) -> None:
        self.browser = browser
        browser.get(address)
        browser.execute_cdp_cmd("Emulation.setFocusEmulationEnabled", {"enabled": True})  # a page without the focus may lose keys

    def text(self, element: str) -> str:
        return str(self.browser.execute_script(f"return document.getElementById('{element}').innerText"))

    def press(self, *keys: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.browser).send_keys(*keys).perform()

    def waits_for(self, script: str) -> None:
        """Until this is true of the page."""
        end = time.monotonic() + 30
        while not self.browser.execute_script(f"return Boolean({script})"):
            assert time.monotonic() < end, (script, self.text("trouble"), self.text("side"))
            time.sleep(0.02)

    def picture(self) -> str:
        return str(self.browser.execute_script("return document.getElementById('still').dataset.picture"))

    def begins(self, tube: str) -> None:
        self.waits_for(f"document.getElementById('first').alt.startsWith('{tube}:')")

    def shows(self, tube: str) -> None:
        self.begins(tube)
        self.waits_for("document.getElementById('still').dataset.picture === 'drawn'")

    def is_done(self, count: int) -> None:
        self.waits_for(f"document.getElementById('progress-words').textContent.startsWith('{count} of 3 done')")


def test_keys_decide_and_undo_and_a_reload_shows_what_is_kept(browser: Any, folder: Path, start: Callable[..., Server]) -> None:
    from selenium.webdriver.common.keys import Keys

    server = start(folder, "ann")
    page = Page(browser, server.address)
    page.shows(REX)
    assert page.text("class-name") == "dog"
    assert "more of the class may be outside the masks" in page.text("warnings")
    page.waits_for("document.getElementById('first').naturalWidth > 300")
    if server.ask("api/set")[2].count(b'"mp4"'):
        page.waits_for("document.querySelector('#clip video').readyState >= 2")
        page.waits_for("!document.querySelector('#clip video').paused")
    page.press("m")
    page.waits_for("document.getElementById('first').src.endsWith('/plain')")
    page.press("?")
    page.waits_for("document.getElementById('help').open")
    page.press("a")  # no key decides below it
    page.press("?")
    page.waits_for("!document.getElementById('help').open")
    page.press("a")
    page.shows(TOM)
    page.press("1")
    page.shows(MAN)
    page.press("z")
    page.shows(TOM)
    page.is_done(1)
    page.press("c")
    page.waits_for("document.getElementById('class-dialog').open")
    page.press("bea", Keys.ARROW_DOWN, Keys.ENTER)  # bear, then teddy bear
    page.shows(MAN)
    page.press("r")
    page.waits_for("document.getElementById('reason-dialog').open")
    page.press("a statue", Keys.ENTER)
    page.waits_for("!document.getElementById('empty').hidden")
    page.press("z")
    page.shows(MAN)
    page.is_done(2)
    assert server.end(signal.SIGKILL) == -signal.SIGKILL
    page.press("u")
    page.waits_for("document.getElementById('trouble').textContent.includes('does not answer')")
    page = Page(browser, start(folder, "ann").address)
    page.shows(MAN)
    page.is_done(2)
    page.press("u")
    page.is_done(3)
    found = [(one.tube, one.verdict, one.reason, one.class_name) for one in read_decisions(folder / "decisions.jsonl").decisions]
    assert found == [
        (REX, "accept", "", ""),
        (TOM, "reject", "not every instance on the first frame is annotated", ""),
        (TOM, "undo", "", ""),
        (TOM, "accept", "", "teddy bear"),
        (MAN, "reject", "a statue", ""),
        (MAN, "undo", "", ""),
        (MAN, "unsure", "", ""),
    ]
    assert not [entry for entry in browser.get_log("browser") if "Content Security Policy" in entry["message"]]


def test_a_second_reviewer_disagrees_and_a_third_settles_it_by_keys(browser: Any, folder: Path, start: Callable[..., Server]) -> None:
    asked = CandidateSet.open(folder)
    append_decisions(folder / "decisions.jsonl", [decide(asked, tube, "accept", "ann") for tube in (REX, TOM)])
    page = Page(browser, start(folder, "ben").address)
    page.shows(REX)
    assert page.text("others") == ""
    page.press("2")
    page.shows(TOM)
    page.press("a")
    page.shows(MAN)
    page = Page(browser, start(folder, "cem").address)
    page.shows(REX)
    assert page.text("others") == ""  # there is a conflict, but in the queue nobody is led
    page.press("g")
    page.waits_for("document.getElementById('others').innerText.includes('ben: rejected')")
    assert "ann: accepted" in page.text("others")
    assert page.text("mine") == "what you decide here settles the conflict"
    assert "50 %" in page.text("agreement")
    page.press("a")
    page.waits_for("document.getElementById('empty').innerText.includes('No conflict to settle')")
    last = read_decisions(folder / "decisions.jsonl").decisions[-1]
    assert (last.tube, last.verdict, last.reviewer, last.settles) == (REX, "accept", "cem", True)
    page.press("z")
    page.waits_for("document.getElementById('others').innerText.includes('ben: rejected')")


def test_filters_and_arrows_find_a_tube(browser: Any, folder: Path, start: Callable[..., Server]) -> None:
    from selenium.webdriver.common.keys import Keys

    page = Page(browser, start(folder, "ann").address)
    page.shows(REX)
    page.press(Keys.ARROW_RIGHT)
    page.shows(TOM)
    page.press("j")
    page.shows(MAN)
    page.press("k", "k")
    page.shows(REX)
    page.press("f")
    page.press("tom", Keys.ENTER)
    page.shows(TOM)
    page.waits_for("document.querySelectorAll('#list li').length === 2")
    page.press("?")
    page.waits_for("document.getElementById('help').open")
    assert "Reject: masks wrong" in page.text("help")
    page.press(Keys.ESCAPE)
    page.press("a")
    page.shows(MAN)


def test_no_key_decides_about_a_tube_that_is_not_drawn_yet(browser: Any, folder: Path, start: Callable[..., Server]) -> None:
    slow = {"offline": False, "latency": 1500, "downloadThroughput": -1, "uploadThroughput": -1}
    page = Page(browser, start(folder, "ann").address)
    page.shows(REX)
    browser.execute_cdp_cmd("Network.enable", {})
    try:
        browser.execute_cdp_cmd("Network.emulateNetworkConditions", slow)
        page.press("a")  # the first was seen
        page.begins(TOM)
        assert page.picture() == "waiting"
        page.press("a", "1", "u", "r", "c")
        assert not browser.execute_script("return document.querySelector('dialog[open]')")
        assert "wait until its picture is drawn" in page.text("said")
        assert [one.tube for one in read_decisions(folder / "decisions.jsonl").decisions] == [REX]
        enabled = browser.execute_script("return [...document.querySelectorAll('#keys button:enabled')].map(one => one.innerText)")
        assert [one.replace("\n", " ") for one in enabled] == ["Z Undo"]
        page.press("m")  # another view of it, which is fetched anew
        page.press("a")
        page.shows(TOM)
    finally:
        browser.execute_cdp_cmd("Network.emulateNetworkConditions", {**slow, "latency": 0})
        browser.execute_cdp_cmd("Network.disable", {})
    assert len(read_decisions(folder / "decisions.jsonl").decisions) == 1
    page.press("u")
    page.shows(MAN)
    found = [(one.tube, one.verdict) for one in read_decisions(folder / "decisions.jsonl").decisions]
    assert found == [(REX, "accept"), (TOM, "unsure")]


def test_a_tube_whose_picture_fails_is_decided_by_the_mouse_alone(
    browser: Any, folder: Path, toy_data: Path, tmp_path: Path, start: Callable[..., Server]
) -> None:
    broken = Path(shutil.copytree(toy_data / "DAVIS", tmp_path / "DAVIS"))
    (broken / "JPEGImages/480p/rex/00000.jpg").write_bytes(b"no picture")
    (folder / "roots.json").write_text(json.dumps({"davis": str(broken)}))
    page = Page(browser, start(folder, "ann").address)
    page.begins(REX)
    page.waits_for("document.getElementById('still').dataset.picture === 'failed'")
    assert "cannot be shown" in page.text("trouble") and "click a button" in page.text("trouble")
    page.press("a")
    assert "click a button" in page.text("said")
    assert not (folder / "decisions.jsonl").exists()
    browser.execute_script("document.querySelectorAll('#keys button')[0].click()")
    page.shows(TOM)
    assert page.text("trouble") == ""
    assert [(one.tube, one.verdict) for one in read_decisions(folder / "decisions.jsonl").decisions] == [(REX, "accept")]
