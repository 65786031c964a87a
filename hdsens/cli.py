"""The command line: wiring only."""

from __future__ import annotations

import io
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from hdsens.errors import InputError, StoppedError
from hdsens.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hdsens.store import Store
    from hdsens.study.cells import Cell


class _Location(click.ParamType):  # type: ignore[type-arg] # generic only in newest click
    """A path, or the URI of an object store as it is."""

    name = "path"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path | str:
        return value if "://" in str(value) else Path(value)


STUDY = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(path_type=Path)
RESULTS = _Location()
WATCH_EVERY_S = 3.0


def main() -> NoReturn:
    """Run `hdsens`: exit status 0, 1 when cells are missing or failed, 2 for bad input."""
    # So that "package.module:factory" finds what lies in this folder; last, so that a file there
    # which is called like a module of Python or of a dependency takes nobody's place.
    sys.path.append(str(Path.cwd()))
    _print_anything()
    try:
        sys.exit(cli.main(prog_name="hdsens", standalone_mode=False))
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        _fail(error.format_message())
    except InputError as error:
        _fail(str(error))
    except StoppedError as error:
        _end_at_once(str(error))
    except (KeyboardInterrupt, click.Abort):
        _interrupted()
    except BrokenPipeError:  # `hdsens … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _print_anything() -> None:
    """Characters that an output's encoding lacks are replaced, as by `?`, and end nothing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _fail(message: str) -> NoReturn:
    click.echo("hdsens: " + " ".join(message.split()), err=True)
    sys.exit(2)


def _interrupted(*_: object) -> NoReturn:
    _end_at_once("interrupted; the same command again goes on from here")


def _end_at_once(message: str) -> NoReturn:
    """Exit status 1, without what would wait for workers or print more at the end."""
    os.write(2, f"hdsens: {message}\n".encode())
    os._exit(1)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hdsens")
def cli() -> None:
    """How sensitive is training to its hyperparameters?

    Declare a study in a TOML file, run it on Ray Tune, read its report.

    \b
    Example:
      hdsens new mine.toml
      hdsens run mine.toml
      xdg-open results/mine/report.html
    """


@cli.command()
@click.argument("study", type=STUDY)
@click.option("--out", type=RESULTS, help="Results folder, or s3://…  [default: results/<study>]")
@click.option("--executor", default="ray", show_default=True, help="ray or inline (this process).")
@click.option("--address", help="Ray cluster to use.  [default: start one on this machine]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--cpus-per-pack", type=int, default=1, show_default=True, help="CPUs and threads.")
@click.option("--gpus-per-pack", type=float, help="May be a fraction.  [default: 1 if any]")
@click.option("--pack-size", type=int, help="Most cells in a pack.  [default: measured]")
@click.option(
    "--path",
    default="auto",
    show_default=True,
    help="fused (together), plain (one by one) or auto (measured).",
)
@click.option(
    "--max-failures",
    type=int,
    default=2,
    show_default=True,
    help="Deaths of workers on one pack before it is halved, or its last cell failed.",
)
@click.option(
    "--checkpoint-every",
    type=float,
    default=300.0,
    show_default=True,
    help="Seconds between checkpoints of a pack in training; 0 for none.",
)
def run(
    study: Path,
    out: Path | str | None,
    executor: str,
    address: str | None,
    device: str,
    cpus_per_pack: int,
    gpus_per_pack: float | None,
    pack_size: int | None,
    path: str,
    max_failures: int,
    checkpoint_every: float,
) -> int:
    """Train the cells of STUDY that its results folder lacks, and write its report.

    Results go to results/<study name>, or where --out says: a folder, s3://… or gs://…. The same
    command again goes on where the last one ended, and trains nothing once all is there. A study
    file with more levels, seeds or arms trains only what is new. Damaged files of the results are
    set aside, and their cells train again.

    \b
    Exit status: 0 when every cell has a result, 1 when some are missing or failed, 2 for bad input.

    \b
    Example:
      hdsens run studies/quickstart.toml
      hdsens run studies/logreg_mnist.toml --out /data/logreg --cpus-per-pack 2
      hdsens run studies/vgg_cifar10.toml --address auto --gpus-per-pack 0.5
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # before a run takes them, and once more after
        signal.signal(number, _interrupted)
    from hdsens.launch import Resources, Safeguards
    from hdsens.launch import run as run_study
    from hdsens.store.wording import status_line

    done = run_study(
        study,
        out,
        executor=executor,
        address=address,
        resources=Resources(device, cpus_per_pack, gpus_per_pack),
        pack_size=pack_size,
        path=path,
        safeguards=Safeguards(max_failures, checkpoint_every),
    )
    for note in done.notes:
        click.echo(f"note: {note}")
    click.echo(status_line(done.status))
    if done.status.other:
        click.echo(f"{done.status.other} cells of other versions of the study lie there unused")
    if not done.status.whole:
        click.echo(f"`hdsens status {done.folder}` says why; the same command trains them again")
    click.echo(f"report: {done.report}")
    click.echo(done.folder)
    return 0 if done.status.whole else 1


@cli.command()
@click.argument("study", type=STUDY)
@click.option("--pack-size", type=int, help="Most cells in a pack.")
def plan(study: Path, pack_size: int | None) -> None:
    """Show what running STUDY would train: arms, cells, steps, packs. Writes nothing.

    \b
    Example:
      hdsens plan studies/quickstart.toml
    """
    from hdsens.launch.planning import describe
    from hdsens.launch.study_file import read_study

    click.echo(describe(read_study(study), pack_size))


@cli.command()
@click.argument("path", type=RESULTS, metavar="STUDY|RESULTS")
@click.option("--out", type=RESULTS, help="Results folder of STUDY, where it is not the default.")
@click.option("--check", is_flag=True, help="Read every file, and name what is damaged.")
@click.option("--watch", is_flag=True, help="Stay, and show the counts until all cells are there.")
def status(path: Path | str, out: Path | str | None, check: bool, watch: bool) -> int:
    """Count the cells of a study: expected, completed, diverged, failed, missing.

    \b
    Exit status: 0 when every cell has a result, 1 when some are missing or failed or, with
    --check, when something is damaged; 2 for bad input.

    \b
    Example:
      hdsens status studies/quickstart.toml
      hdsens status results/quickstart --check
      hdsens status results/quickstart --watch
    """
    store, cells, differences = _store_of(path, out)
    if watch:
        return 0 if _watch(store, cells) else 1
    from hdsens.store.wording import status_text

    found = status_text(store, cells, check=check)
    for line in (*found.lines, *differences):
        click.echo(line)
    return 0 if found.whole else 1


@cli.command()
@click.argument("results", type=RESULTS)
def compact(results: Path | str) -> None:
    """Merge the many small parts of RESULTS into few large ones, which read faster.

    Safe to kill at any moment, and beside a run; `run` does it by itself above some hundred parts.

    \b
    Example:
      hdsens compact results/quickstart
    """
    from hdsens.store import Store

    store = Store(results)
    store.study()
    try:
        done = store.compact()
    except OSError as error:
        raise _unwritable(error, store.folder) from None
    click.echo(f"{done.before} parts before, {done.after} after")
    click.echo(store.folder)


@cli.command()
@click.argument("results", type=RESULTS, nargs=-1, required=True)
@click.option("--out", type=FOLDER, help="HTML file.  [default: report.html in the first folder]")
@click.option("--figures", type=FOLDER, help="Also write every figure there: SVG, PNG and PDF.")
@click.option("--tables", type=FOLDER, help="Also write every table there: CSV and Markdown.")
@click.option(
    "--against", type=RESULTS, help="Other results of the study; the page says what changed."
)
def report(
    results: tuple[Path | str, ...],
    out: Path | None,
    figures: Path | None,
    tables: Path | None,
    against: Path | str | None,
) -> None:
    """Write the report of one or several results folders: one HTML file that opens from disk.

    \b
    Example:
      hdsens report results/quickstart
      hdsens report results/logreg results/mlp --out both.html
      hdsens report results/quickstart --figures figures --tables tables
      hdsens report results/quickstart_new_code --against results/quickstart
    """
    from hdsens.report import render, write_figures, write_report, write_tables
    from hdsens.store import Store, read_results

    if against is not None and len(results) > 1:
        raise InputError("--against", "needs one RESULTS", len(results), "report them one by one")
    read = [read_results(folder) for folder in results]
    earlier = None if against is None else read_results(against)
    try:
        if figures is not None:
            write_figures(read, figures)
        if tables is not None:
            write_tables(read, tables)
        if out is not None:
            click.echo(write_report(read, out, against=earlier))
        else:
            click.echo(Store(results[0]).write_page(render(read, against=earlier)))
    except OSError as error:
        raise _unwritable(error, out or results[0]) from None


@cli.command()
@click.argument("results", type=RESULTS, nargs=-1, required=True)
def verdict(results: tuple[Path | str, ...]) -> None:
    """Judge the claims about each compared arm, on one or several results folders.

    Each claim is supported, refuted or inconclusive; a study without [protocol] gives an
    exploratory verdict. Several results are several tasks under the first one's protocol; where
    two have one label, what they differ in is added to it.

    \b
    Example:
      hdsens verdict results/logreg_mnist
      hdsens verdict results/logreg_mnist results/mlp_mnist
    """
    from hdsens.analysis import join_cells
    from hdsens.analysis import verdict as judge
    from hdsens.store import read_results

    read = [read_results(folder) for folder in results]
    first = read[0].study
    click.echo(judge(join_cells([r.cells for r in read]), first.protocol, first.metric))


@cli.command()
@click.argument("before", type=RESULTS)
@click.argument("after", type=RESULTS)
def diff(before: Path | str, after: Path | str) -> int:
    """Compare two results of the same study: cells that changed, and findings that flipped.

    A point of the grid is changed where its mean moved by more than seed noise. A finding (a claim
    at a setting) flips where its verdict is another one.

    \b
    Exit status: 0 when no point changed by more than seed noise and no finding flipped, 1 when
    something did, 2 for bad input.

    \b
    Example:
      hdsens diff results/quickstart results/quickstart_new_code
    """
    from hdsens.report import compare
    from hdsens.store import read_results

    earlier, later = read_results(before), read_results(after)
    found = compare(earlier, later, later.study.metric)
    if found.points.empty and found.outcomes.empty:
        raise InputError(
            f"results {str(before)!r} and {str(after)!r}",
            "must share cells",
            remedy="compare two runs of one study: same task, budget, arms and seeds",
        )
    click.echo(found)
    return 0 if found.same else 1


@cli.command("list")
def list_names() -> None:
    """List the models, data sets and optimizers that a study file can name.

    \b
    Example:
      hdsens list
    """
    from hdsens.launch.planning import known_names

    for what, names in known_names().items():
        click.echo(f"{what}: {', '.join(names)}")
    click.echo('Your own: "package.module:name", found from the folder where hdsens runs.')


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
def new(file: Path) -> None:
    """Write a small study to start from; FILE must not exist.

    \b
    Example:
      hdsens new mine.toml
    """
    from hdsens.study.starter import write_starter

    write_starter(file)
    click.echo(f"wrote {file}; now: hdsens run {file}")


def _unwritable(error: OSError, place: Path | str) -> InputError:
    return InputError(
        f"file {str(error.filename or place)!r}",
        f"cannot be written: {error.strerror or error}",
        remedy="choose another place, or make room there",
    )


def _store_of(
    path: Path | str, out: Path | str | None
) -> tuple[Store, Sequence[Cell], tuple[str, ...]]:
    """Return the store of a study file or results folder, and the cells that it should hold.

    The third value explains in lines how the study file differs from the study in the store.
    """
    from hdsens.store import Store

    if isinstance(path, Path) and not path.is_dir():
        from hdsens.launch.planning import store_of  # loads torch

        return store_of(path, out)
    if out is not None:
        raise InputError("--out", "must go with a study file", str(out), "leave it out")
    return Store(path), Store(path).expected(), ()


def _watch(store: Store, cells: Sequence[Cell]) -> bool:
    """Show the counts until every cell has a result, or Ctrl-C; whether they all have."""
    from rich.live import Live
    from rich.text import Text

    from hdsens.store.wording import status_text

    found = status_text(store, cells)
    with Live(Text("\n".join(found.lines)), auto_refresh=False, transient=True) as screen:
        try:
            while not found.whole:
                time.sleep(WATCH_EVERY_S)
                found = status_text(store, cells)
                screen.update(Text("\n".join(found.lines)), refresh=True)
        except KeyboardInterrupt:
            pass
    for line in found.lines:
        click.echo(line)
    return found.whole
