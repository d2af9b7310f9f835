"""`bench results gallery` on a real run: the images that were judged, nothing attacked, nothing made up."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from bench.core.errors import CorruptArtifactError
from bench.store.galleries import read_gallery, shown

RUN = (
    "run",
    "--defense",
    "plain",
    "--threat",
    "white-box",
    "--attack",
    "pgd",
    "--set",
    "attack.steps=3",
    "--limit",
    "20",
)


@pytest.fixture
def made(cli):
    """A run of 20 images: its folder."""
    done = cli(*RUN, "--json")
    assert done.code == 0, done.err
    return Path("results") / json.loads(done.out)["run_id"]


def rows_of(folder):
    return pd.read_parquet(folder / "verdicts.parquet").set_index("image_id")


def gallery(cli, folder, *more):
    done = cli("results", "gallery", folder.name[:8], *more)
    assert done.code == 0, done.err
    return done


def refused(cli, *argv):
    done = cli("results", "gallery", *argv)
    assert done.code == 2, done.err
    assert done.out == ""
    (line,) = [text for text in done.err.splitlines() if text.startswith("bench: ")]
    return line


def test_a_picture_of_what_was_judged(cli, made):
    record = (made / "record.json").read_bytes()
    done = gallery(cli, made)
    about, rows = read_gallery(made), rows_of(made)
    assert sorted(os.listdir(made)) == ["gallery.json", "gallery.png", "record.json", "verdicts.parquet"]
    assert (made / "record.json").read_bytes() == record
    assert about.run_id == made.name
    assert about.verdicts == json.loads(record)["digests"]["verdicts"]
    assert about.scale == 5  # eps 0.1 up to half of the range
    assert len(about.tiles) == len({tile.image_id for tile in about.tiles}) == 12
    for tile in about.tiles:
        row = rows.loc[tile.image_id]
        assert (tile.label, tile.clean_prediction, tile.adversarial_prediction, str(tile.outcome)) == (
            row.label, row.clean_prediction, row.adversarial_prediction, row.outcome,
        )  # fmt: skip
        assert f"{tile.image_id}: label {tile.label}, predicted {tile.clean_prediction}" in about.caption
    assert "perturbation x 5" in about.caption
    assert "grey = 0" in about.caption
    assert about.caption in done.out
    assert str(made / "gallery.png") in done.out
    assert (made / "gallery.png").stat().st_size < 300_000
    with Image.open(made / "gallery.png") as image:
        assert image.width > 1000
    assert shown(made).caption == about.caption


def test_the_same_question_gives_the_same_bytes_and_another_seed_other_images(cli, made):
    first = gallery(cli, made) and [(made / n).read_bytes() for n in ("gallery.png", "gallery.json")]
    again = gallery(cli, made) and [(made / n).read_bytes() for n in ("gallery.png", "gallery.json")]
    assert first == again
    ids = {tile.image_id for tile in read_gallery(made).tiles}
    gallery(cli, made, "--seed", "1")
    assert ids != {tile.image_id for tile in read_gallery(made).tiles}


def test_nothing_is_attacked_and_the_images_are_the_kept_ones(cli, made, monkeypatch):
    from bench.attacks.pgd import Pgd

    monkeypatch.setattr(Pgd, "perturb", lambda *_: pytest.fail("attacked"))
    gallery(cli, made, "--images", "20")
    assert {tile.image_id for tile in read_gallery(made).tiles} == set(rows_of(made).index)


def test_chosen_images_in_their_order(cli, made, tmp_path):
    wanted = list(rows_of(made).index[[7, 2]])
    gallery(cli, made, "--ids", ",".join(wanted))
    assert [tile.image_id for tile in read_gallery(made).tiles] == wanted
    (tmp_path / "list.txt").write_text(f"{wanted[1]}\n{wanted[0]}\n")
    gallery(cli, made, "--ids", str(tmp_path / "list.txt"))
    assert [tile.image_id for tile in read_gallery(made).tiles] == wanted[::-1]
    assert "chosen by id" in read_gallery(made).caption


def test_only_the_fooled(cli, made):
    done = gallery(cli, made, "--fooled", "--images", "3", "--json")
    tiles = json.loads(done.out)["tiles"]
    assert [tile["outcome"] for tile in tiles] == ["fooled"] * 3


def test_for_print(cli, made, tmp_path):
    done = gallery(cli, made, "--images", "2", "--out", str(tmp_path / "print" / "g"))
    assert sorted(os.listdir(tmp_path / "print")) == ["g.pdf", "g.png"]
    assert str(tmp_path / "print" / "g.pdf") in done.out
    assert (tmp_path / "print" / "g.pdf").read_bytes().startswith(b"%PDF")


def test_under_a_fallback_and_without_a_ball(cli):
    for more in (("--protocol", "paper", "--attack", "pgd"), ("--attack", "pgd", "--eps", "0")):
        argv = ("run", "--defense", "plain", "--threat", "white-box", "--limit", "10", *more, "--json")
        folder = Path("results") / json.loads(cli(*argv).out)["run_id"]
        gallery(cli, folder, "--images", "10")
    assert read_gallery(folder).scale == 1
    assert {tile.distance for tile in read_gallery(folder).tiles} == {0.0}


def test_bad_input_is_one_line(cli, made):
    rows = rows_of(made)
    assert "no run 'ffff'" in refused(cli, "ffff")
    assert "'nobody' is not in the run" in refused(cli, made.name, "--ids", "nobody")
    assert "the run has 20 images" in refused(cli, made.name, "--images", "21")
    assert "1 to 40" in refused(cli, made.name, "--images", "41")
    assert "either a list or a draw" in refused(cli, made.name, "--ids", rows.index[0], "--fooled")
    assert "expected 1 to 40" in refused(cli, made.name, "--ids", ",")
    assert not (made / "gallery.json").exists()


def test_a_run_without_kept_images(cli, made, forget_images):
    forget_images()
    assert "are not kept" in refused(cli, made.name)
    assert not (made / "gallery.png").exists()


def test_another_picture_is_not_taken_for_it(cli, made):
    gallery(cli, made, "--images", "1")
    (made / "gallery.png").write_bytes(b"another")
    with pytest.raises(CorruptArtifactError, match="SHA-256"):
        shown(made)
