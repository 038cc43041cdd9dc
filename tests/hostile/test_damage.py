"""Every damaged puzzle ends as one message that names what is damaged, soon and within little memory."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import tests.hostile.folder_damages
import tests.hostile.pth_damages
import tests.hostile.safetensors_damages
import tests.hostile.table_damages
import tests.hostile.zip_damages  # noqa: F401
from tests.hostile.damages import CASES, FORMS, KINDS, SEED, Victim, generator, sound
from tests.hostile.sandbox import CPU_SECONDS, Said, Sandbox, command_said, sandbox
from tests.support.fleet import Command
from tests.support.puzzles import Planted

MOST_MEMORY = 1 << 30
LONGEST_MESSAGE = 1000
SOUND = 4
"""Sound puzzles of each form."""

Sounds = dict[str, list[tuple[Path, Planted]]]


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with sandbox() as found:
        yield found


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Sounds:
    folder = tmp_path_factory.mktemp("sound")
    places = {form: [folder / f"{form}-{k}" for k in range(SOUND)] for form in FORMS}
    return {form: [(place, sound(form, place, SEED + k)) for k, place in enumerate(of)] for form, of in places.items()}


def victim_of(sounds: Sounds, name: str, case: int, folder: Path) -> Victim:
    """A copy of a sound puzzle, to be damaged."""
    path, planted = sounds[KINDS[name].form][case % SOUND]
    place = folder / f"{case}" / "puzzle"
    place.parent.mkdir()
    (shutil.copytree if path.is_dir() else shutil.copy)(path, place)
    return Victim(place, planted, generator(name, SEED, case))


def verify(box: Sandbox, path: Path, planted: Planted) -> Said:
    return box.pairing("verify", path, ",".join(map(str, planted.permutation)))


def complaint(said: Said, naming: str) -> str | None:
    """What is wrong with the answer to a damaged puzzle."""
    lines = said.errors.splitlines()
    if said.status != 2 or said.output:
        return f"status {said.status}: {said.output[-300:]}{said.errors[-1000:]}"
    if len(lines) != 1 or len(lines[0]) > LONGEST_MESSAGE or not lines[0].startswith("pairing: "):
        return f"no one message: {said.errors[:2000]!r}"
    if naming not in lines[0]:
        return f"does not name {naming}: {lines[0]}"
    if "more memory than there is" in lines[0]:
        return f"tried to take the memory: {lines[0]}"
    if said.did or said.peak > MOST_MEMORY:
        return f"did {said.did}, took {said.peak:,} bytes"
    if said.seconds > CPU_SECONDS:
        return f"took {said.seconds:.1f} s"
    return None


def test_there_are_kinds_enough() -> None:
    assert len(KINDS) >= 30


@pytest.mark.parametrize("name", KINDS)
def test_damage_is_one_message(name: str, box: Sandbox, sounds: Sounds, tmp_path: Path) -> None:
    wrong = []
    for case in range(CASES):
        victim = victim_of(sounds, name, case, tmp_path)
        naming = str(KINDS[name].harm(victim))
        before = sorted(path.name for path in victim.path.parent.iterdir())
        found = complaint(verify(box, victim.path, victim.planted), naming)
        if not found and sorted(path.name for path in victim.path.parent.iterdir()) != before:
            found = "left something beside the puzzle"
        if found:
            wrong.append(f"case {case} of seed {SEED}: {found}")
        shutil.rmtree(victim.path.parent)
    path, planted = sounds[KINDS[name].form][CASES % SOUND]
    control = verify(box, path, planted)
    assert (control.status, control.errors, control.did) == (0, "", ())
    assert "Solved." in control.output
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("form", FORMS)
def test_damage_is_one_message_of_the_command(form: str, sounds: Sounds, tmp_path: Path) -> None:
    name = next(name for name, kind in KINDS.items() if kind.form == form)
    victim = victim_of(sounds, name, 0, tmp_path)
    naming = str(KINDS[name].harm(victim))
    pairing = Command(tmp_path / "home")
    pairing.folder.mkdir()
    assert complaint(command_said(pairing, "verify", victim.path, "0,1,2"), naming) is None
    assert list(pairing.folder.iterdir()) == []
