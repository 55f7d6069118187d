"""Put the parts of a dataset in the place of its `all/`, without losing what else lies there."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from motrail.errors import ConfigError
from motrail.names import safe_name
from motrail.outputs import WholeOutput, output_error, writing

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping

    from motrail.dataset.folder import Dataset
    from motrail.formats.labels import Labels

PARTS = ("train", "val", "test")
"""What `all` is split into."""
_REWRITTEN = frozenset({"gt/gt.txt", "seqinfo.ini", "labels.txt", "gt/labels.txt"})
_LITTER = frozenset({".DS_Store", "Thumbs.db"})


class OtherFiles:
    """Files in `all/` that are neither labels nor pictures: nobody's data is lost in a split.

    What a linked folder leads to stays where it is, so it does not count.

    Args:
        dataset: Whose `all/`.
        notes: Where it is noted what was left out.
        must_stay: Refuse to leave anything out, because `all/` is to go.
    """

    def __init__(self, dataset: Dataset, notes: Counter[str], *, must_stay: bool) -> None:
        self._all = dataset.folder / "all"
        self._folders = {safe_name(f.name): f for f in dataset.sequence_folders("all")}
        self._seen: set[Path] = set()
        self._notes = notes
        self._must_stay = must_stay

    def take(self, labels: Labels) -> list[Path]:
        """The other files in the folder of a sequence."""
        folder = self._folders.get(labels.name)
        if folder is None or folder.is_symlink():
            return []
        self._seen.add(folder)
        pictures = labels.pictures.values()
        real = {parent: parent.resolve() for parent in {path.parent for path in pictures}}
        root = folder.resolve()
        known = {real[path.parent] / path.name for path in pictures}
        known |= {root / name for name in _REWRITTEN}
        if not (root / "gt" / "gt.txt").is_file():
            known.add(root / "gt.txt")
        return [folder / path.relative_to(root) for path in _files(root) if path not in known]

    def carry(
        self, files: list[Path], new: Path, pictures: Mapping[Path, Path]
    ) -> dict[Path, Path]:
        """Find places for other files of a sequence that stays whole.

        Args:
            files: As `take` gave them.
            new: Where the sequence's folder is now; folders are made in it.
            pictures: What belongs there already: new path → path now.

        Returns:
            New path → path now.
        """
        targets = {}
        for path in files:
            target = new / Path(*path.relative_to(self._all).parts[1:])
            if target in pictures:
                self.leave([path])
                continue
            with writing(target):
                target.parent.mkdir(parents=True, exist_ok=True)
            targets[target] = path
        return targets

    def strangers(self) -> list[Path]:
        """The files that lie in no sequence's folder; to be asked at the end."""
        if not self._all.is_dir() or self._all.is_symlink():
            return []
        inside = [path for path in sorted(self._all.iterdir()) if path not in self._seen]
        folders = [path for path in inside if path.is_dir() and not path.is_symlink()]
        files = [path for path in inside if not path.is_dir() and not _is_litter(path)]
        return [*files, *(file for folder in folders for file in _files(folder))]

    def leave(self, files: list[Path]) -> None:
        """Note that files are left out.

        Raises:
            ConfigError: They would be lost.
        """
        if files and self._must_stay:
            names = ", ".join(str(path.relative_to(self._all)) for path in files[:3])
            more = f" and {len(files) - 3} more" if len(files) > 3 else ""
            raise ConfigError(
                f"{self._all}: holds files that cannot be split and would be lost: {names}{more}; "
                "move them away, or split to another folder with -o"
            )
        if files:
            self._notes["files that are neither labels nor pictures were left out"] += len(files)


def _files(folder: Path) -> list[Path]:
    """All files in a folder and its folders, but not in linked ones."""
    paths = [Path(place, name) for place, _, names in os.walk(folder) for name in sorted(names)]
    return [path for path in paths if not _is_litter(path)]


def _is_litter(path: Path) -> bool:
    return path.name in _LITTER or path.name.startswith("._")


class InPlace(WholeOutput):
    """The parts of a dataset, which `commit` puts in the place of its `all/`.

    They are made in a hidden folder of the dataset, `temporary`, and change places with `all/` by
    renames, each of which can be taken back.

    Args:
        folder: The dataset's folder, in which no part is there yet.

    Raises:
        OutputError: It cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.temporary = folder / f".{secrets.token_hex(8)}"
        self._moves: list[tuple[Path, Path]] = []
        self._done = False
        with writing(folder):
            self.temporary.mkdir()

    def finish(self) -> None:
        """Nothing is left to be written."""

    def commit(self) -> None:
        """Let the parts appear and `all/` go.

        Raises:
            OutputError: Something cannot be renamed; everything is taken back.
        """
        with writing(self._folder):
            moves = self._plan()
            for _, target in moves:
                if os.path.lexists(target) and target.name != "labels.txt":
                    raise output_error(target, OSError(errno.EEXIST, ""))
            (self.temporary / "old").mkdir()
            self._moves = moves
            for source, target in moves:
                source.rename(target)
        self._done = True
        self.discard()

    def _plan(self) -> list[tuple[Path, Path]]:
        """What is to be renamed, and to what; `all/` last."""
        folder, new, old = self._folder, self.temporary, self.temporary / "old"
        moves = [(new / part, folder / part) for part in PARTS]
        if os.path.lexists(folder / "annotations"):
            records = sorted((new / "annotations").iterdir())
            moves += [(record, folder / "annotations" / record.name) for record in records]
        else:
            moves.append((new / "annotations", folder / "annotations"))
        if not _same_content(folder / "labels.txt", new / "labels.txt"):
            moves.append((folder / "labels.txt", old / "labels.txt"))
            moves.append((new / "labels.txt", folder / "labels.txt"))
        moves.append((folder / "annotations" / "all.json", old / "all.json"))
        moves.append((folder / "all", old / "all"))
        return [(source, target) for source, target in moves if os.path.lexists(source)]

    def discard(self) -> None:
        """Take back what was renamed so far, and remove what is not needed."""
        if self._done or self._taken_back():
            shutil.rmtree(self.temporary, ignore_errors=True)

    def _taken_back(self) -> bool:
        for source, target in reversed(self._moves):
            if os.path.lexists(target) and not os.path.lexists(source):
                try:
                    target.rename(source)
                except OSError:
                    # What is in the hidden folder is all there is of it.
                    return False
        return True


def _same_content(one: Path, other: Path) -> bool:
    return one.is_file() and one.read_bytes() == other.read_bytes()
