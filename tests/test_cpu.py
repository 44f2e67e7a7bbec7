import pytest

from ste_ray.process.cpu import has_bf16_arithmetic


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("flags\t\t: fpu sse2 avx512f avx512_bf16 avx512_vnni", True),
        ("flags\t\t: fpu sse2 amx_bf16 amx_tile", True),
        ("Features\t: fp asimd bf16 i8mm", True),
        ("flags\t\t: fpu sse2 avx2 avx512f", False),
        ("model name\t: a bf16 machine", False),
    ],
)
def test_bf16_is_told_from_the_flags_of_the_cpu(tmp_path, line, expected):
    described = tmp_path / "cpuinfo"
    described.write_text(f"processor\t: 0\n{line}\nbugs\t\t:\n")
    assert has_bf16_arithmetic(described) is expected


def test_a_cpu_that_is_not_described_counts_as_one_without(tmp_path):
    assert not has_bf16_arithmetic(tmp_path / "none")
