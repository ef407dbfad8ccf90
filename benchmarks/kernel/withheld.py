"""A processor without AVX-512, played by one that has it: no library may use it, neither ours nor those of the peers.

Each is told by a variable of its own, which it reads when it is loaded.
"""

AVX2_XLA = "--xla_cpu_max_isa=AVX2"  # JAX: among XLA_FLAGS


def without_avx512() -> dict[str, str]:
    """Name -> value of environment variables."""
    variables = {
        "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",  # NumPy
        "OPENBLAS_CORETYPE": "Haswell",  # products of NumPy and SciPy
        "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2",  # PyTorch
    }  # fmt: skip
    try:
        from llvmlite.binding import get_host_cpu_features
    except ImportError:
        return variables
    features = {name: has and not name.startswith("avx512") for name, has in get_host_cpu_features().items()}
    told = ",".join(f"{'+' if has else '-'}{name}" for name, has in features.items())
    return variables | {"NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": told}  # engine=compiled
