"""``handgrad bench``."""

from __future__ import annotations

import click


@click.command(short_help="Measure training and inference, beside PyTorch.")
@click.argument("networks", nargs=-1, help="Which to measure, as --list names them (default: five).")
@click.option(
    "--seconds",
    type=click.FloatRange(0.0),
    default=8.0,
    show_default=True,
    help="For each network, after its first steps.",
)
@click.option(
    "--torch/--no-torch", default=True, show_default=True, help="Compare with PyTorch where it is installed."
)
@click.option("--list", "show", is_flag=True, help="Show the networks and end.")
def bench(networks: tuple[str, ...], seconds: float, torch: bool, show: bool) -> None:
    """Measure training steps and inference on this machine, beside PyTorch if it is installed.

    Both take turns on the same weights and images, PyTorch with the memory
    layout that is faster for it. Times are medians; one counts where the
    machine was quiet before it and after. OMP_NUM_THREADS=1 measures one
    thread.
    """
    import handgrad
    from handgrad.bench import machine, quick
    from handgrad.bench.workloads import WORKLOADS

    if show:
        for w in WORKLOADS.values():
            print(f"{w.name:22}  {w.title}")
        return
    threads, version = machine.usable_threads(), quick.torch_version()
    with_torch = torch and version is not None
    measured = quick.lines(networks or quick.NETWORKS, seconds, threads, with_torch=with_torch)
    print(f"handgrad  {handgrad.__version__}")
    print(f"PyTorch   {version or 'not installed'}{'' if with_torch or not version else ', not compared'}")
    for name, text in quick.about(threads).items():
        print(f"{name:8}  {text}")
    columns = f"{'PyTorch ms':>11} {'PyTorch/here':>13}" if with_torch else ""
    print(f"\n{'':39}{'ms':>9} {'images/s':>9} {'GFLOP/s':>8} {columns}".rstrip())
    marks = set()
    for line in measured:
        w, c = line.workload, line.comparison
        here = c.ours.median
        print(f"{w.title:39}{here * 1e3:9.2f} {w.batch / here:9.0f} {line.flops / 1e9:8.1f}", end="")
        if with_torch:
            print(
                f" {c.theirs[c.best('torch')].median * 1e3:11.2f} {c.ratio_of_medians('torch'):13.2f}", end=""
            )
        mark = ("" if line.quiet else " ~") + ("" if line.same else " !")
        marks.update(mark.split())
        print(mark, flush=True)
    if "~" in marks:
        print("~ the machine was never quiet: end other programs, and measure again")
    if "!" in marks:
        print("! the two did not compute the same")
