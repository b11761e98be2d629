"""The weight registry: downloads over a real local server that drops, ignores and lies; what is kept, refused and told."""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from conftest import Said

from icvos import download, weights
from icvos.errors import DataError, UserInputError
from icvos.files import sha256_file
from icvos.weights import WeightFile, fetch, resolve, weight_file, weight_files, weight_folder

Icvos = Callable[..., Said]
EMBEDDED_HEADS = ("dcsam_nano", "vrp_sam_nano", "pfenet_nano", "hdmnet_nano", "amnet_nano")
GOOD = bytes(range(256)) * 2048  # 512 KiB: several blocks
SHA256 = hashlib.sha256(GOOD).hexdigest()


@dataclass
class Server:
    """Serves GOOD in several manners, told by the path: /good.pt, /drops.pt (half, once), /deaf.pt (no Range), /wrong.pt, ..."""

    address: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)  # (path, Range)
    drops: int = 1  # how many answers of /drops.pt end halfway

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path, wanted = request.path, request.headers.get("Range", "")
        self.asked.append((path, wanted))
        if path == "/moved.pt":
            request.send_response(302)
            request.send_header("Location", "/good.pt")
            request.send_header("Content-Length", "0")
            request.end_headers()
        elif path == "/gone.pt":
            request.send_error(404)
        else:
            self.send(request, GOOD[::-1] if path == "/wrong.pt" else GOOD, 0 if path == "/deaf.pt" or not wanted else int(wanted[6:-1]))

    def send(self, request: BaseHTTPRequestHandler, data: bytes, start: int) -> None:
        if start >= len(data):
            request.send_error(416)
            return
        request.send_response(206 if start else 200)
        if request.path != "/endless.pt":
            request.send_header("Content-Length", str(len(data) - start))
        request.end_headers()
        broken = request.path == "/drops.pt" and self.drops > 0
        self.drops -= broken
        request.wfile.write(data[start : start + (len(data) - start) // 2] if broken else data[start:])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.answer(self)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    monkeypatch.setenv("NO_PROXY", "*")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        state.address = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        http.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ICVOS_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.delenv("ICVOS_OFFLINE", raising=False)
    return tmp_path / "weights"


def entry(name: str, address: str = "http://127.0.0.1:9", **changes: Any) -> WeightFile:
    made = WeightFile(name, f"{name}.pt", f"{address}/{name}.pt", SHA256, "", len(GOOD), "MIT", "https://page.test", "a test", "pt")
    return replace(made, **changes)


def known(*files: WeightFile) -> dict[str, WeightFile]:
    return {file.name: file for file in files}


# the registry itself


def test_every_entry_is_well_formed() -> None:
    for name, file in weight_files().items():
        assert name == file.name and file.licence and file.what and file.source.startswith("https://"), name
        assert re.fullmatch("([0-9a-f]{64})?", file.sha256) and re.fullmatch("([0-9a-f]{8,63})?", file.sha256_prefix), name
        if not file.embedded:
            assert file.url.endswith(f"/{file.file}") if file.url else file.by_hand.startswith("https://"), name
        assert file.public_hash or not file.url, f"{name} can be fetched and has no hash"
        if digits := re.fullmatch(r"\w+-([0-9a-f]{8})\.pth", file.file):  # torchvision's custom
            assert file.public_hash.startswith(digits[1]), name


def test_embedded_files_are_the_ones_that_the_registry_names_and_are_never_downloaded() -> None:
    embedded = [file for file in weight_files().values() if file.embedded]
    assert {file.name for file in embedded} == {"sam2_nano", "efficientnet_lite0", *EMBEDDED_HEADS}
    for file in embedded:
        path = fetch(file.name, offline=True)
        assert path.stat().st_size == file.size <= 15_000_000 and sha256_file(path) == file.sha256, file.name


def test_names_of_the_field_are_there() -> None:
    sam2 = {f"sam{version}_hiera_{size}" for version in ("2", "2.1") for size in ("t", "s", "b+", "l")}
    others = {"sam_vit_b", "sam_vit_l", "sam_vit_h", "resnet50", "resnet101", "vgg16_bn", "swin_b", "resnet50_v2", "resnet101_v2"}
    assert sam2 | others | {"dinov2_s14", "dinov2_b14", "dinov2_l14"} <= set(weight_files())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"sha256": "xyz"}, "sha256: found 'xyz'"),
        ({"url": "http://plain.test/a.pt"}, "url: found 'http://plain.test/a.pt'"),
        ({"url": ""}, "one of `url`, `by_hand`, `embedded`"),
        ({"licence": ""}, "licence: found ''"),
        ({"file": "../up.pt"}, "file: found '../up.pt'"),
        ({"size": -1}, "size: found -1"),
        ({"size": True}, "size: found True"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_entry_is_refused_with_its_place(tmp_path: Path, change: dict[str, object], told: str) -> None:
    data = json.loads(weights.REGISTRY.read_text(encoding="utf-8"))
    data["files"][2] |= change
    (tmp_path / "w.json").write_text(json.dumps(data))
    with pytest.raises(DataError) as fault:
        weight_files(tmp_path / "w.json")
    assert told in str(fault.value) and "files[2]" in str(fault.value)


def test_a_registry_of_another_format_or_with_twins_is_refused(tmp_path: Path) -> None:
    data = json.loads(weights.REGISTRY.read_text(encoding="utf-8"))
    (tmp_path / "w.json").write_text(json.dumps(data | {"files": data["files"] + data["files"][:1]}))
    with pytest.raises(DataError, match="two weights of one name"):
        weight_files(tmp_path / "w.json")
    (tmp_path / "w.json").write_text("[]")
    with pytest.raises(DataError, match="found list, expected icvos-weights/1"):
        weight_files(tmp_path / "w.json")


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserInputError, match=r"did you mean sam2\.1_hiera_l"):
        weight_file("sam2.1_heira_l")


def test_without_a_setting_the_platform_says_where_caches_lie(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ICVOS_WEIGHTS")
    assert weight_folder().parts[-2:] == ("icvos", "weights") or "icvos" in weight_folder().parts
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ICVOS_WEIGHTS", "~/w")
    assert weight_folder() == tmp_path / "w"


# fetching


@pytest.mark.parametrize("name", ["good", "moved", "endless"])
def test_a_file_is_fetched_once_and_reports_its_bytes(server: Server, folder: Path, name: str) -> None:
    told: list[tuple[int, int | None]] = []
    registry = known(entry(name, server.address))
    path = fetch(name, registry=registry, on_progress=lambda done, total: told.append((done, total)))
    assert path == folder / f"{name}.pt" and path.read_bytes() == GOOD
    assert told[-1] == (len(GOOD), None if name == "endless" else len(GOOD)) and told == sorted(told, key=lambda step: step[0])
    asked = len(server.asked)
    assert fetch(name, registry=registry) == path and len(server.asked) == asked
    assert sorted(file.name for file in folder.iterdir()) == [f".{name}.pt.lock", f"{name}.pt", f"{name}.pt.sha256"]


def test_a_broken_download_goes_on_where_it_stopped(server: Server, folder: Path) -> None:
    registry = known(entry("drops", server.address))
    with pytest.raises(UserInputError, match=r"broke off.*run the same command again to go on from 0\.\d MB"):
        fetch("drops", registry=registry)
    assert not (folder / "drops.pt").exists()
    got = (folder / "drops.pt.partial").stat().st_size
    assert 0 < got < len(GOOD)
    assert fetch("drops", registry=registry).read_bytes() == GOOD
    assert server.asked == [("/drops.pt", ""), ("/drops.pt", f"bytes={got}-")]
    assert not (folder / "drops.pt.partial").exists()


def test_a_server_that_ignores_ranges_is_taken_from_the_beginning(server: Server, folder: Path) -> None:
    folder.mkdir()
    (folder / "deaf.pt.partial").write_bytes(GOOD[:1000])
    assert fetch("deaf", registry=known(entry("deaf", server.address))).read_bytes() == GOOD
    assert server.asked == [("/deaf.pt", "bytes=1000-")]


def test_a_whole_partial_file_is_only_hashed(server: Server, folder: Path) -> None:
    folder.mkdir()
    (folder / "good.pt.partial").write_bytes(GOOD)
    assert fetch("good", registry=known(entry("good", server.address))).read_bytes() == GOOD


def test_a_wrong_file_is_refused_with_both_hashes_and_removed(server: Server, folder: Path) -> None:
    with pytest.raises(DataError) as fault:
        fetch("wrong", registry=known(entry("wrong", server.address)))
    assert SHA256 in str(fault.value) and hashlib.sha256(GOOD[::-1]).hexdigest() in str(fault.value)
    assert fault.value.exit_code == 3
    assert [file.name for file in folder.iterdir()] == [".wrong.pt.lock"]


def test_the_first_digits_of_a_hash_are_enough_to_refuse(server: Server, folder: Path) -> None:
    right = entry("good", server.address, sha256="", sha256_prefix=SHA256[:8])
    assert fetch("good", registry=known(right)).read_bytes() == GOOD
    with pytest.raises(DataError, match=f"expected a sha256 that begins with {SHA256[:8]}"):
        fetch("wrong", registry=known(entry("wrong", server.address, sha256="", sha256_prefix=SHA256[:8])))


def test_without_a_public_hash_the_first_file_counts(server: Server, folder: Path) -> None:
    registry = known(entry("drops", server.address, sha256=""))
    with pytest.raises(UserInputError, match="check the network, then run"):
        fetch("drops", registry=registry)
    path = fetch("drops", registry=registry)  # from the beginning: nothing could tell whether the two halves belong together
    assert [asked for _, asked in server.asked] == ["", ""] and path.read_bytes() == GOOD
    path.write_bytes(GOOD[::-1])
    with pytest.raises(DataError, match=r"delete the file and drops\.pt\.sha256, then run `icvos weights drops`"):
        fetch("drops", registry=registry)
    path.unlink()
    assert fetch("drops", registry=registry).read_bytes() == GOOD
    path.unlink()
    with pytest.raises(DataError, match=SHA256):  # the server's file has changed since
        fetch("drops", registry=known(replace(registry["drops"], url=f"{server.address}/wrong.pt")))


def test_refusals_and_dead_servers_are_one_sentence(server: Server) -> None:
    with pytest.raises(UserInputError, match=r"the server refuses.*found status 404"):
        fetch("gone", registry=known(entry("gone", server.address)))
    with pytest.raises(UserInputError, match=r"found no connection.*check the network") as fault:
        fetch("dead", registry=known(entry("dead")))
    assert fault.value.exit_code == 2


def test_many_at_once_download_once(server: Server) -> None:
    registry, start = known(entry("good", server.address)), threading.Barrier(4)

    def work(number: int) -> Path:
        start.wait()
        return fetch("good", registry=registry)

    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(work, range(4)))
    assert len(paths) == 1 and paths.pop().read_bytes() == GOOD
    assert server.asked == [("/good.pt", "")]


def test_another_process_waits_for_the_one_that_downloads(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    code = f"from pathlib import Path; from icvos.download import alone\nwith alone(Path({str(lock)!r})): print('mine')"
    with download.alone(lock):
        other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(1.5)
    assert other.communicate(timeout=60)[0] == "mine\n"


# what lies there


def test_a_file_is_hashed_once_and_again_when_it_changes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[Path] = []
    hash_file = weights.sha256_file
    monkeypatch.setattr(weights, "sha256_file", lambda path: hashed.append(path) or hash_file(path))
    folder.mkdir()
    (folder / "here.pt").write_bytes(GOOD)
    registry = known(entry("here"))
    for _ in range(3):
        fetch("here", registry=registry)
    assert len(hashed) == 1
    record = json.loads((folder / "here.pt.sha256").read_text())
    assert record["sha256"] == SHA256 and record["size"] == len(GOOD) and record["mtime_ns"] == (folder / "here.pt").stat().st_mtime_ns
    (folder / "here.pt").write_bytes(GOOD[:-1] + b"x")
    with pytest.raises(DataError, match="wrong or damaged weights") as fault:
        fetch("here", registry=registry)
    assert len(hashed) == 2 and SHA256 in str(fault.value) and "delete the file, then run `icvos weights here`" in str(fault.value)


@pytest.mark.parametrize("rubbish", ["", "[]", '{"sha256": 5, "size": 1, "mtime_ns": 1}', '{"sha256": "", "size": 1, "mtime_ns": 1}'])
def test_a_record_that_is_none_is_written_anew(folder: Path, rubbish: str) -> None:
    folder.mkdir()
    (folder / "here.pt").write_bytes(GOOD)
    (folder / "here.pt.sha256").write_text(rubbish)
    fetch("here", registry=known(entry("here")))
    assert json.loads((folder / "here.pt.sha256").read_text())["sha256"] == SHA256


def test_a_record_does_not_outlive_the_published_hash(folder: Path) -> None:
    folder.mkdir()
    (folder / "here.pt").write_bytes(GOOD)
    fetch("here", registry=known(entry("here")))
    with pytest.raises(DataError, match="0" * 64):
        fetch("here", registry=known(entry("here", sha256="0" * 64)))


def test_a_shared_folder_that_cannot_be_written_still_serves(folder: Path) -> None:
    folder.mkdir()
    (folder / "here.pt").write_bytes(GOOD)
    (folder / "here.pt.sha256").mkdir()  # no record can be written
    assert fetch("here", registry=known(entry("here"))) == folder / "here.pt"


def test_a_folder_that_cannot_be_made_is_the_users(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("ICVOS_WEIGHTS", str(tmp_path / "file" / "weights"))
    with pytest.raises(UserInputError, match="cannot write"):
        fetch("good", registry=known(entry("good", server.address)))


def test_a_partial_file_that_cannot_be_written_is_the_users(server: Server, folder: Path) -> None:
    (folder / "good.pt.partial").mkdir(parents=True)
    with pytest.raises(UserInputError, match=r"cannot write.*good\.pt\.partial.*ICVOS_WEIGHTS"):
        fetch("good", registry=known(entry("good", server.address)))


@pytest.mark.parametrize("by", ["argument", "environment"])
def test_offline_says_what_to_put_where(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    if by == "environment":
        monkeypatch.setenv("ICVOS_OFFLINE", "1")
    registry = known(entry("good", server.address))
    with pytest.raises(UserInputError) as fault:
        fetch("good", offline=by == "argument", registry=registry)
    assert str(folder / "good.pt") in str(fault.value) and f"{server.address}/good.pt" in str(fault.value)
    assert server.asked == []
    folder.mkdir()
    (folder / "good.pt").write_bytes(GOOD)
    assert fetch("good", offline=True, registry=registry) == folder / "good.pt"


def test_weights_by_hand_say_where_from_and_where_to(folder: Path) -> None:
    with pytest.raises(UserInputError) as fault:
        fetch("resnet50_v2")
    assert str(folder / "resnet50_v2.pth") in str(fault.value) and weight_files()["resnet50_v2"].by_hand in str(fault.value)
    folder.mkdir()
    (folder / "resnet50_v2.pth").write_bytes(GOOD)
    assert fetch("resnet50_v2") == folder / "resnet50_v2.pth"
    (folder / "resnet50_v2.pth").write_bytes(b"other")
    with pytest.raises(DataError, match="take it again from https://"):
        fetch("resnet50_v2")


def test_a_path_of_the_user_is_taken_as_it_is(server: Server, tmp_path: Path) -> None:
    registry = known(entry("good", server.address), entry("other", server.address))
    own = tmp_path / "own.pt"
    with pytest.raises(UserInputError, match=r"no such weights.*found nothing"):
        resolve(own, "good", registry=registry)
    with pytest.raises(UserInputError, match="did you mean good"):
        resolve("goood", "other", registry=registry)
    own.write_bytes(b"mine")
    assert resolve(own, "good", registry=registry) == resolve(str(own), "good", registry=registry) == own
    assert server.asked == []
    assert resolve("good", "other", registry=registry) == resolve(None, "good", registry=registry)
    with pytest.raises(UserInputError, match="found a folder"):
        resolve(tmp_path, "good", registry=registry)


# the command


@pytest.fixture
def shelf(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, WeightFile]:
    """A registry of four for the command: one there, two to fetch, one by hand."""
    folder.mkdir()
    (folder / "here.pt").write_bytes(GOOD)
    unsized = entry("drops", server.address, size=None)
    registry = known(entry("here"), entry("good", server.address), unsized, entry("hand", url="", by_hand="https://hand.test"))
    monkeypatch.setattr(weights, "weight_files", lambda: registry)
    return registry


def test_the_table_says_what_is_there(icvos: Icvos, shelf: dict[str, WeightFile], folder: Path) -> None:
    said = icvos("weights")
    assert said.code == 0 and said.err == ""
    lines = [line.split() for line in said.out.splitlines()]
    assert lines[0] == ["name", "size", "licence", "cached", "source"]
    assert lines[1] == ["here", "1", "MB", "MIT", "yes", "https://page.test"]
    assert lines[3] == ["drops", "unknown", "MIT", "no", "https://page.test"]
    assert said.out.endswith(f"1 of 4 are in {folder}\n")
    rows = json.loads(icvos("weights", "--json").out)
    assert [(row["name"], row["cached"]) for row in rows] == [("here", True), ("good", False), ("drops", False), ("hand", False)]
    assert rows[0]["path"] == str(folder / "here.pt") and rows[0]["sha256"] == SHA256


def test_a_dry_run_downloads_nothing(icvos: Icvos, shelf: dict[str, WeightFile], server: Server) -> None:
    said = icvos("weights", "--dry-run")
    assert said.code == 0 and f"{server.address}/good.pt" in said.out and "hand: by hand, from https://hand.test to " in said.out
    assert said.out.endswith("2 to download: 1 MB, and 1 of unknown size; 1 already there\n")
    plan = json.loads(icvos("weights", "--dry-run", "--json", "good", "here", "hand").out)
    assert [file["name"] for file in plan["download"]] == ["good"]
    assert (plan["bytes"], plan["unknown_sizes"], [file["name"] for file in plan["by_hand"]]) == (len(GOOD), 0, ["hand"])
    assert icvos("weights", "--dry-run", "here").out == "0 to download: 0 MB; 1 already there\n"
    assert server.asked == []


def test_names_are_fetched_and_their_paths_printed(icvos: Icvos, shelf: dict[str, WeightFile], folder: Path) -> None:
    said = icvos("weights", "here", "good", "good")
    assert (said.code, said.out, said.err) == (0, f"{folder / 'here.pt'}\n{folder / 'good.pt'}\n", "")
    assert json.loads(icvos("weights", "good", "--json").out) == [{"name": "good", "path": str(folder / "good.pt")}]


def test_faults_of_the_command(icvos: Icvos, shelf: dict[str, WeightFile], server: Server, folder: Path) -> None:
    said = icvos("weights", "here", "goood")
    assert said.code == 2 and "did you mean good" in said.err and said.out == ""
    assert icvos("weights", "--offline", "good").code == 2 and server.asked == []
    assert "to go on from" in icvos("weights", "drops").err
    assert icvos("weights", "drops").code == 0
    (folder / "here.pt").write_bytes(b"damaged")
    assert icvos("weights", "here").code == 3
    assert json.loads(icvos("weights", "here", "--json").out)["error"] == "DataError"


def test_a_terminal_sees_a_bar(icvos: Icvos, shelf: dict[str, WeightFile], monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("COLUMNS", "100")
    assert icvos("weights", "good").out == f"{folder / 'good.pt'}\n"
    assert "good" in screen.getvalue() and "kB" in screen.getvalue()


@pytest.mark.parametrize("name", weight_files())
def test_every_name_can_be_asked_for(icvos: Icvos, name: str) -> None:
    said = icvos("weights", "--dry-run", name)
    assert said.code == 0 and (name in said.out or (weight_file(name).embedded and "1 already there" in said.out))


def test_help_loads_nothing_of_the_network() -> None:
    say = "print('LOADED', *{'pooch', 'requests'} & set(sys.modules))"
    code = f"import sys\ntry:\n from icvos.cli import main; main(sys.argv[1:])\nfinally: {say}"
    for words in (["--help"], ["weights", "--help"]):
        done = subprocess.run([sys.executable, "-c", code, *words], text=True, capture_output=True, check=True, timeout=60)
        assert done.stdout.splitlines()[-1] == "LOADED"


@pytest.mark.parametrize("name", ["sam2_nano", *EMBEDDED_HEADS])
def test_the_card_of_an_embedded_model_speaks_of_the_file_that_is_there(name: str) -> None:
    card = json.loads((weights.REGISTRY.parent / f"{name}.json").read_text(encoding="utf-8"))
    assert card["sha256"] == weight_file(name).sha256
    assert not any("DAVIS" in entry for entry in card["trained on"])
    assert card["settings chosen on"] == list(weight_file(name).validation_clips)
    if name in EMBEDDED_HEADS:
        assert weight_file(name).size <= 6_200_000 and "dog" in weight_file(name).training_classes
