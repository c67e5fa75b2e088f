"""A stand-in for the program that rounds call: the flags of main.py, samples that follow from the seed.

Standard library only, so that a round costs little. What goes wrong is chosen with flags; `--bad KIND --bad_rounds 1,2`
spoils the results of these rounds, once per round with `--once`.
"""

import argparse
import errno
import io
import os
import random
import struct
import sys
import time
import zipfile
from pathlib import Path

TERMS = ("total", "distance", "penetration", "self_penetration", "joint_limits", "wrench_volume")


def npy(values: list[float], shape: tuple[int, ...]) -> bytes:
    """Returns float64 values as the bytes of a .npy file."""
    header = str({"descr": "<f8", "fortran_order": False, "shape": shape})
    header = header.ljust(117) + "\n"
    return (
        b"\x93NUMPY\x01\x00"
        + struct.pack("<H", len(header))
        + header.encode()
        + struct.pack(f"<{len(values)}d", *values)
    )


def arrays(seed: int, num: int, dim: int) -> dict[str, bytes]:
    """Returns samples and energies of a round."""
    rng = random.Random(seed)
    found = {"samples": npy([rng.random() for _ in range(num * dim)], (num, dim))}
    return found | {f"energies.{term}": npy([rng.random() for _ in range(num)], (num,)) for term in TERMS}


def write_npz(path: Path, found: dict[str, bytes]) -> None:
    """Writes arrays as .npz."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in found.items():
            archive.writestr(f"{name}.npy", data)


def spoil(kind: str, results: Path, found: dict[str, bytes], options: argparse.Namespace) -> None:
    """Writes results that are wrong in one way."""
    path = results / "result.npz"
    if kind == "missing":
        found.pop("energies.distance")
    if kind == "shape":
        found = arrays(options.seed, options.batch_size, options.dim + 1)
    if kind == "no_samples":
        found = arrays(options.seed, 0, options.dim)
    if kind == "rows":
        found["energies.total"] = npy([0.0], (1,))
    write_npz(path, found)
    whole = path.read_bytes()
    if kind == "half":
        path.write_bytes(whole[: len(whole) // 2])
    if kind == "flipped":
        path.write_bytes(whole[:150] + bytes([whole[150] ^ 255]) + whole[151:])
    if kind == "empty":
        path.write_bytes(b"")
    if kind == "garbage":
        path.write_bytes(random.Random(1).randbytes(1000))
    if kind == "none":
        path.unlink()
    if kind == "exit":
        sys.exit(3)
    if kind == "disk":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def parse() -> argparse.Namespace:
    """Reads the flags."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", required=True)
    parser.add_argument("--object_code", required=True)
    parser.add_argument("--batch_size", type=int, required=True)
    parser.add_argument("--num_iterations", type=int, default=0)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--gpu", default="0")
    parser.add_argument("--out", default="data/experiments")
    parser.add_argument("--dim", type=int, default=3)
    parser.add_argument("--sleep", type=float, default=0.0)
    parser.add_argument("--fail_rate", type=float, default=0.0)
    parser.add_argument("--bad", default="")
    parser.add_argument("--bad_rounds", default="")
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--litter", action="store_true")
    parser.add_argument("--trace", default="", help="folder of a file per run with its GPU, start and end")
    return parser.parse_args()


def is_bad(options: argparse.Namespace, folder: Path) -> bool:
    """Returns whether this call has to go wrong."""
    round_id = options.name.rpartition("__r")[2]
    if round_id not in options.bad_rounds.split(","):
        return False
    mark = folder.parent / f"spoilt_{options.name}"
    first = not mark.exists()
    mark.touch()
    return first or not options.once


def litter(folder: Path) -> None:
    """Leaves what main.py leaves beside its results."""
    (folder / "frames").mkdir()
    (folder / "frames" / "0.png").write_bytes(b"picture")
    (folder / "optimization_0.mp4").write_bytes(b"film")
    (folder / "results" / "samples_100.npy").write_bytes(b"on the way")
    (folder / "results" / "config.txt").write_text("settings")


def main() -> None:
    """Makes one round."""
    begun = time.time()
    options = parse()
    folder = Path(options.out) / options.name
    results = folder / "results"
    results.mkdir(parents=True)
    print(f"{options.name} seed {options.seed} gpu {os.environ.get('CUDA_VISIBLE_DEVICES')}")
    time.sleep(options.sleep)
    found = arrays(options.seed, options.batch_size, options.dim)
    if is_bad(options, folder):
        spoil(options.bad, results, found, options)
    else:
        part = io.BytesIO()
        write_npz(part, found)  # type: ignore[arg-type]
        (results / "result.npz").write_bytes(part.getvalue())
    if options.litter:
        litter(folder)
    if options.trace:
        gpu = os.environ["CUDA_VISIBLE_DEVICES"]
        (Path(options.trace) / f"{os.getpid()}_{begun}").write_text(f"{gpu} {begun} {time.time()}")
    if random.SystemRandom().random() < options.fail_rate:
        sys.exit(7)


if __name__ == "__main__":
    main()
