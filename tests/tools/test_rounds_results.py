"""What a round may leave behind, and what is made of it."""

import pickle

import numpy as np
import pytest

from tools.rounds.errors import ResultError
from tools.rounds.results import common_name, read_results

SAMPLES = np.arange(6.0).reshape(2, 3)
TOTAL = np.array([1.0, 2.0])


def test_npz_with_flat_names(tmp_path):
    np.savez(tmp_path / "any.npz", poses=SAMPLES, energy_total=TOTAL, self_penetration=TOTAL, seed=3, meta=1)
    found = read_results(tmp_path, "box")
    assert sorted(found) == ["energies.self_penetration", "energies.total", "samples"]
    np.testing.assert_array_equal(found["samples"], SAMPLES)


def test_structured_and_plain_energies(tmp_path):
    energies = np.zeros(2, dtype=[("total", "<f4"), ("distance", "<f4")])
    np.savez_compressed(tmp_path / "a.npz", samples=SAMPLES, energies=energies)
    assert {"energies.total", "energies.distance"} < set(read_results(tmp_path, "box"))
    np.savez(tmp_path / "a.npz", samples=SAMPLES, energies=SAMPLES)
    np.testing.assert_array_equal(read_results(tmp_path, "box")["energies"], SAMPLES)


def test_npy_files_are_fields_and_snapshots_on_the_way_are_left_out(tmp_path):
    np.save(tmp_path / "samples.npy", np.asfortranarray(SAMPLES))
    np.save(tmp_path / "total.npy", TOTAL)
    np.save(tmp_path / "samples_500.npy", SAMPLES[:1])
    found = read_results(tmp_path, "box")
    assert sorted(found) == ["energies.total", "samples"]
    np.testing.assert_array_equal(found["samples"], SAMPLES)


def test_file_named_after_the_object_is_taken_alone(tmp_path):
    np.save(tmp_path / "box.npy", SAMPLES)
    np.save(tmp_path / "box_500.npy", SAMPLES[:1])
    np.savez(tmp_path / "other.npz", samples=SAMPLES[:1])
    assert len(read_results(tmp_path, "box")["samples"]) == 2


def test_list_of_one_dict_per_sample(tmp_path):
    """The form in which bimanual grasp programs save: nested dicts of joint values, short names of energies."""
    records = [
        {
            "scale": 0.1,
            "qpos_left": {"a": index + 1.0, "b": 2.0},
            "qpos_right": {"a": 3.0, "b": np.float64(4.0)},
            "qpos_left_st": {"a": 0.0, "b": 0.0},
            "energy": 5.0,
            "E_pen": 6.0,
        }
        for index in range(3)
    ]
    np.save(tmp_path / "box.npy", np.array(records, dtype=object))
    found = read_results(tmp_path, "box")
    np.testing.assert_array_equal(found["samples"][2], [3.0, 2.0, 3.0, 4.0])
    assert found["qpos_left_st"].shape == (3, 2)
    assert found["energies.total"].tolist() == [5.0] * 3
    assert found["energies.penetration"].tolist() == [6.0] * 3


class Harmful:
    def __reduce__(self):
        return (print, ("this must not run",))


def test_pickled_code_is_not_run(tmp_path, capsys):
    np.save(tmp_path / "box.npy", np.array([{"a": Harmful()}], dtype=object))
    with pytest.raises(ResultError, match=r"objects of builtins\.print"):
        read_results(tmp_path, "box")
    assert "must not run" not in capsys.readouterr().out


@pytest.mark.parametrize("size", [0, 5, 60, 150])
def test_cut_npy_is_told(tmp_path, size):
    np.save(tmp_path / "samples.npy", SAMPLES)
    data = (tmp_path / "samples.npy").read_bytes()
    (tmp_path / "samples.npy").write_bytes(data[:size])
    with pytest.raises(ResultError, match=r"cannot read samples\.npy"):
        read_results(tmp_path, "box")


def test_header_that_promises_too_much_is_told(tmp_path):
    with (tmp_path / "samples.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (10**9, 9)})
    with pytest.raises(ResultError, match="cut short"):
        read_results(tmp_path, "box")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"other": TOTAL}, "no field samples"),
        ({"samples": SAMPLES[:0]}, "no samples in"),
        ({"samples": SAMPLES, "total": TOTAL[:1]}, "another number of rows in energies.total: 1"),
        ({"samples": np.array([{}, {}], dtype=object)}, "holds Python objects"),
        ({"samples": np.zeros((2, 0))}, "not numbers or text"),
        ({"samples": SAMPLES, "a": np.zeros(2, dtype=[("b", [("c", "f8")])])}, "not numbers or text"),
    ],
)
def test_useless_results_are_told(tmp_path, fields, message):
    np.savez(tmp_path / "a.npz", **fields)
    with pytest.raises(ResultError, match=message):
        read_results(tmp_path, "box")


def test_records_that_differ_in_shape_are_told(tmp_path):
    records = np.array([{"samples": [1.0]}, {"samples": [1.0, 2.0]}], dtype=object)
    np.save(tmp_path / "box.npy", records)
    with pytest.raises(ResultError, match="cannot read"):
        read_results(tmp_path, "box")


def test_pickle_that_is_cut_is_told(tmp_path):
    with (tmp_path / "box.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": (1,)})
        file.write(pickle.dumps([1, 2, 3])[:-4])
    with pytest.raises(ResultError, match="cannot read"):
        read_results(tmp_path, "box")


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("samples", "samples"),
        ("poses", "samples"),
        ("total", "energies.total"),
        ("energies_distance", "energies.distance"),
        ("energies.my_own", "energies.my_own"),
        ("E_fc", "energies.force_closure"),
        ("energies", "energies"),
        ("rules", "rules"),
    ],
)
def test_common_names(key, name):
    assert common_name(key) == name
