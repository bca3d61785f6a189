"""Aff-Wild2: annotations of both generations of folders, joined with features by number and by time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mer_bench.data.corpora import corpora
from mer_bench.data.splits import make_split, targets
from mer_bench.data.views import align
from mer_bench.errors import UserError
from mer_bench.merh5 import FeatureFile, check
from mer_bench.prepare import Report, Request, prepare
from tests.prepare.fake_affwild2 import (
    HEADERS,
    LOST,
    NEW,
    OLD,
    TRACKS,
    VALIDATION,
    Tree,
    present,
    write_annotations,
    write_frames,
    write_sound,
)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return write_annotations(tmp_path / "tree")


def convert(tree: Tree, rate: dict[str, str] | None = None, **features: Path) -> tuple[Report, FeatureFile]:
    out = tree.root.parent / "affwild2.h5"
    report = prepare("affwild2", Request(tree.root, features=features, rate=rate or {}), out)
    assert check(out) == []
    return report, FeatureFile(out)


def frames_of(offsets: np.ndarray, item: int) -> slice:
    return slice(int(offsets[item]), int(offsets[item + 1]))


@pytest.mark.parametrize(("folders", "train"), [(OLD, "Training_Set"), (NEW, "Train_Set")])
def test_labels_and_masks_say_what_the_lines_say(tmp_path: Path, folders: dict[str, str], train: str) -> None:
    tree = write_annotations(tmp_path / "tree", folders, train)
    _, file = convert(tree, vision=write_frames(tmp_path / "vision", "npz"))
    assert file.ids == sorted(TRACKS)
    for (task, track), lines in tree.lines.items():
        values, mask = file.label(task)
        here = frames_of(file.labels[task].offsets, file.ids.index(track))
        assert here.stop - here.start == TRACKS[track]
        values, mask = (a[here].reshape(TRACKS[track], -1) for a in (values, mask))
        assert not mask[len(lines) :].any()
        for line, value, known in zip(lines, values, mask, strict=False):
            cells = np.array([float(cell) for cell in line.split(",")])
            if task == "va":
                assert known.all() == (-5 not in cells) and known.any() == known.all()
            else:
                assert np.array_equal(known, cells != -1)
            np.testing.assert_allclose(value[known], cells[known], atol=1e-6)
    assert not file.label("au")[1][frames_of(file.labels["au"].offsets, file.ids.index("video5"))].any()


@pytest.mark.parametrize("form", ["frames", "npz", "csv"])
def test_features_are_joined_by_frame_number(tree: Tree, tmp_path: Path, form: str) -> None:
    report, file = convert(tree, vision=write_frames(tmp_path / "vision", form))
    values, valid, offsets = file.values("vision"), file.valid("vision"), file.modalities["vision"].offsets
    for item, track in enumerate(file.ids):
        here = frames_of(offsets, item)
        lost = set(LOST.get(track, ())) | ({9} if form == "csv" else set())
        assert [n for n in range(1, TRACKS[track] + 1) if not valid[here][n - 1]] == sorted(lost)
        good = np.flatnonzero(valid[here])
        np.testing.assert_array_equal(values[here][good, 1], good + 1)
        assert set(values[here][good, 0]) == {1.0 + list(TRACKS).index(track)}
    assert report.dropped["vision rows beyond the last annotated frame"].count == 2 * len(TRACKS)
    missing = report.repaired["vision annotated frames without a row masked"]
    assert (missing.count, set(missing.ids)) == (sum(map(len, LOST.values())), set(LOST))


def test_faces_with_a_rate_are_not_shared(tree: Tree, tmp_path: Path) -> None:
    """A file named by the video is the sound of both people in it, and the face of neither."""
    _, file = convert(tree, {"vision": "5"}, vision=write_sound(tmp_path / "audio"))
    for side in ("left", "right"):
        assert not file.modalities["vision"].present[file.ids.index(f"talk_{side}")]


def test_sound_is_shared_and_joined_by_time(tree: Tree, tmp_path: Path) -> None:
    vision, audio = write_frames(tmp_path / "vision", "npz"), write_sound(tmp_path / "audio")
    report, file = convert(tree, {"audio": "100"}, vision=vision, audio=audio)
    info = file.modalities["audio"]
    assert (info.rate_hz, info.rows) == (100.0, 150 * len(TRACKS))
    sound = [
        file.values("audio")[frames_of(info.offsets, file.ids.index(f"talk_{side}"))] for side in ("left", "right")
    ]
    np.testing.assert_array_equal(*sound)
    rows = align(file, "audio", "va")
    heard = np.where(rows >= 0, file.values("audio")[rows, 0], np.nan)
    for item, track in enumerate(file.ids):  # the middle of frame n is (n - 1/2) / fps; a row of sound lasts 10 ms
        here = frames_of(file.labels["va"].offsets, item)
        fps = 60 if track == "1-60-1280x720" else 30
        middle = (np.arange(TRACKS[track]) + 0.5) / fps
        np.testing.assert_allclose(heard[here], middle + 0.005, atol=0.0051)
    assert report.repaired["videos taken to have 30 frames per second (--rate video=...)"].count == 4


def test_one_rate_is_a_rate_and_two_are_times(tree: Tree, tmp_path: Path) -> None:
    vision = write_frames(tmp_path / "vision", "npz")
    table = tmp_path / "fps.csv"
    table.write_text("video,fps\n1-60-1280x720,25\ntalk,25\nvideo5,25\nvideo6,25\nvideo7,25\n")
    report, file = convert(tree, {"video": str(table)}, vision=vision)
    assert file.labels["va"].rate_hz == file.modalities["vision"].rate_hz == 25 and file.label_times("va") is None
    assert not any("frames per second" in what for what in report.repaired)
    _, file = convert(tree, {"video": "24"}, vision=vision)
    first = frames_of(file.labels["va"].offsets, 0)
    np.testing.assert_allclose(file.label_times("va")[first][:, 1], np.arange(1, 41) / 60)
    np.testing.assert_array_equal(file.label_times("va"), file.times("vision"))


def test_splits_hold_the_official_parts(tree: Tree, tmp_path: Path) -> None:
    _, file = convert(tree, vision=write_frames(tmp_path / "vision", "npz"))
    for scheme in ("abaw", "abaw_va", "abaw_expr", "abaw_au"):
        (part,) = file.split_table(scheme)
        for name, number in zip(file.ids, part, strict=True):
            unused = scheme == "abaw_au" and name == "video5"
            assert number == (0 if unused else 3 if name in VALIDATION else 1)


def test_tasks_that_disagree_keep_their_own_parts(tree: Tree, tmp_path: Path) -> None:
    path = tree.path("expr", "video7")
    path.rename(path.parents[1] / "Train_Set" / path.name)
    report, file = convert(tree, vision=write_frames(tmp_path / "vision", "npz"))
    row = file.ids.index("video7")
    found = {scheme: int(file.split_table(scheme)[0][row]) for scheme in file.splits}
    assert found == {"abaw": 0, "abaw_va": 3, "abaw_expr": 1, "abaw_au": 3}
    assert [tally.ids for what, tally in report.dropped.items() if "disagree" in what] == [["video7"]]


def test_protocols_find_their_labels_and_parts(tree: Tree, tmp_path: Path) -> None:
    _, file = convert(tree, vision=write_frames(tmp_path / "vision", "npz"))
    for protocol in corpora()["affwild2"].protocols:
        split = make_split(protocol, file, 0)
        assert {file.ids[row] for row in split.test} == set(VALIDATION)
        assert split.val.size and split.train.size
        for name, spec in protocol.tasks.items():
            assert targets(file, name, spec)[1].any()


def _replace(tree: Tree, task: str, track: str, line: int, text: str) -> None:
    path = tree.path(task, track)
    lines = path.read_text().splitlines()
    lines[line] = text
    path.write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("task", "header"),
    [
        ("va", "arousal, valence"),
        ("va", "\ufeffValence,Arousal"),
        ("expr", HEADERS["expr"].replace(",", ", ").upper()),
        ("au", ",".join(reversed(HEADERS["au"].split(",")))),
    ],
)
def test_header_variants(tree: Tree, tmp_path: Path, task: str, header: str) -> None:
    vision = write_frames(tmp_path / "vision", "npz")
    _, before = convert(tree, vision=vision)
    plain = [a.copy() for a in before.label(task)]
    columns = HEADERS[task].split(",")
    turned = [name.strip().lower().removeprefix("\ufeff") for name in header.split(",")]
    order = [[name.lower() for name in columns].index(name) for name in turned]
    for track in TRACKS:
        if (task, track) in tree.lines:
            lines = [header]
            for line in tree.lines[task, track]:
                cells = line.split(",")
                lines.append(line if task == "expr" else ",".join(cells[k] for k in order))
            tree.path(task, track).write_text("\r\n".join(lines), encoding="utf-8")
    _, after = convert(tree, vision=vision)
    for old, new in zip(plain, after.label(task), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(
    ("task", "line", "text", "says"),
    [
        ("va", 0, "valence,dominance", r"video5.txt: header .*expected valence,arousal"),
        ("va", 7, "0.2", r"video5.txt, line 8: 1 values; expected 2"),
        ("va", 7, "0.2,1.5", r"video5.txt, line 8: 1.5; expected -1 to 1"),
        ("va", 7, "0.2,nan", r"video5.txt, line 8: nan; expected -1 to 1"),
        ("va", 7, "0.2,much", r"is not a number"),
        ("expr", 7, "8", r"line 8: 8; expected a class 0 to 7"),
        ("expr", 0, "Neutral,Happiness,Anger", r"expected neutral,anger"),
        ("expr", 7, "1.5", r"line 8: 1.5"),
    ],
)
def test_malformed_annotations_are_refused(
    tree: Tree, tmp_path: Path, task: str, line: int, text: str, says: str
) -> None:
    _replace(tree, task, "video5", line, text)
    with pytest.raises(UserError, match=says):
        convert(tree, vision=write_frames(tmp_path / "vision", "npz"))
    assert not (tmp_path / "affwild2.h5").exists()


def test_editions_of_action_units_are_not_mixed(tree: Tree, tmp_path: Path) -> None:
    path = tree.path("au", "video6")
    path.write_text("AU1,AU2,AU4,AU6,AU12,AU15,AU20,AU25\n" + "0,1,0,1,0,1,0,1\n" * 30)
    with pytest.raises(UserError, match="two editions"):
        convert(tree, vision=write_frames(tmp_path / "vision", "npz"))


def test_arrays_without_numbers_must_have_the_length_of_the_labels(tree: Tree, tmp_path: Path) -> None:
    folder = tmp_path / "vision"
    folder.mkdir()
    for track, frames in TRACKS.items():
        np.save(folder / f"{track}.npy", np.ones((frames - (track == "video5"), 3)))
    report, _ = convert(tree, vision=folder)
    assert report.repaired["vision annotated frames without a row masked"].ids == ["video5"]
    np.save(folder / "video6.npy", np.ones((20, 3)))
    with pytest.raises(UserError, match=r"20 rows without frame numbers, 30 annotated frames"):
        convert(tree, vision=folder)


def test_a_face_is_never_taken_from_the_other_person(tree: Tree, tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "vision", "npz")
    (folder / "talk_left.npz").rename(folder / "talk.npz")
    _, file = convert(tree, vision=folder)
    has = file.modalities["vision"].present
    assert not has[file.ids.index("talk_left")] and has[file.ids.index("talk_right")]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (
            lambda f: np.savez(f / "video5.npz", values=np.ones((2, 2)), frames=[0, 1]),
            "frame 0; expected numbers from 1",
        ),
        (lambda f: np.savez(f / "video5.npz", values=np.ones((2, 2)), frames=[3, 3]), "frame 3 occurs twice"),
        (lambda f: np.savez(f / "video5.npz", values=np.ones((2, 5)), frames=[1, 2]), "5 features; those before"),
        (lambda f: np.savez(f / "video5.npz", values=np.ones((2, 2))), "expected values and frames"),
        (lambda f: np.save(f / "video5.npy", np.ones((25, 2))), "hold the same track"),
        (lambda f: [p.rename(f / f"x{p.name}") for p in list(f.glob("*.npz"))], "nothing of any track"),
    ],
)
def test_malformed_features_are_refused(tree: Tree, tmp_path: Path, spoil, says: str) -> None:
    folder = write_frames(tmp_path / "vision", "npz")
    spoil(folder)
    with pytest.raises(UserError, match=says):
        convert(tree, vision=folder)


def test_rows_that_are_no_measurement_are_masked(tree: Tree, tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "vision", "npz", extra=0)
    values = np.stack([np.full(25, 4.0), np.arange(1, 26)], axis=1)
    values[7], values[8, 0] = 0, np.inf
    np.savez(folder / "video5.npz", values=values, frames=np.arange(1, 26))
    report, file = convert(tree, vision=folder)
    here = frames_of(file.modalities["vision"].offsets, file.ids.index("video5"))
    assert np.flatnonzero(~file.valid("vision")[here]).tolist() == [7, 8]
    assert report.repaired["vision rows of nothing but zeros masked"].count == 1
    assert report.repaired["vision rows with a value that is not finite masked"].count == 1


def test_what_the_command_line_leaves_open_is_asked_for(tree: Tree, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="name features with --features"):
        convert(tree)
    vision = write_frames(tmp_path / "vision", "npz")
    for rate, says in (
        ({"sound": "100"}, "no --features of that name"),
        ({"video": "fast"}, "expected a number of rows"),
        ({"vision": "30"}, "leave the rate out"),
    ):
        with pytest.raises(UserError, match=says):
            convert(tree, rate, vision=vision)
    assert len(present("talk_left")) == 30
