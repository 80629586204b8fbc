"""Seeds, determinism, threads, and what a number was measured with."""

import os
import platform
import subprocess
from pathlib import Path

import h5py
import keras
import numpy as np
import tensorflow as tf

from allconv.core.arguments import checked
from allconv.core.machine import cores

# Variables that may change numbers: those of oneDNN, XLA, cuDNN and TensorFlow. Not all
# that begins with `TF_`: Terraform's do too, and some hold passwords.
VARIABLES = (
    *("ONEDNN_", "DNNL_", "XLA_", "OMP_NUM_", "NVIDIA_TF32_", "CUBLAS_WORKSPACE_"),
    *("TF_ENABLE_", "TF_DISABLE_", "TF_DETERMINISTIC_", "TF_XLA_", "TF_NUM_"),
    *("TF_CUDNN_", "TF_CUBLAS_", "TF_GPU_", "TF_USE_", "TF_FORCE_", "TF_AUTOTUNE_"),
    *("TF_FP16_", "TF_FP32_", "TF_MKL_"),
)
INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")


@checked
def set_seed(seed: int) -> None:
    """Seed Python, NumPy and Keras, and ask TensorFlow for deterministic kernels.

    Both hold for the rest of the process.

    Args:
        seed: An integer from 0 to 2**32 - 1.
    """
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def unseeded(config: object) -> object:
    """The configuration of a layer or an initialiser with every seed in it open.

    What is built of it draws anew, as `set_seed` has it.
    """
    if isinstance(config, dict):
        return {k: None if k == "seed" else unseeded(v) for k, v in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(map(unseeded, config))
    return config


def set_threads(threads: int | None) -> None:
    """Limit the threads of one operation; None leaves TensorFlow's choice.

    Raises:
        ValueError: If there would be none.
        RuntimeError: If TensorFlow has run already; call this first.
    """
    if threads is not None:
        if threads < 1:
            raise ValueError(f"`threads` should be 1 or more. Received: {threads}")
        tf.config.threading.set_intra_op_parallelism_threads(threads)


def environment() -> dict[str, str | int]:
    """Versions, processor and threads: all that a number may depend on but its seed."""
    gpus = tf.config.list_physical_devices("GPU")
    flags = _cpuinfo("flags").split()
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    variables = _variables()
    return {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "numpy": np.__version__,
        "h5py": h5py.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _cpuinfo("model name") or platform.processor() or "unknown",
        # One processor's name stands for several sets, and bytes depend on the set.
        "instructions": " ".join(i for i in INSTRUCTIONS if i in flags),
        "cores": cores(),
        # Whether oneDNN's kernels were asked for; TensorFlow decides by the processor.
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
        "threads": _threads(),
        "device": ", ".join(d.get("device_name", "GPU") for d in details) or "CPU",
        **({"variables": variables} if variables else {}),
    }


def made_with() -> dict[str, str | int | None]:
    """`environment` and the commit, as they are now: call it before a run starts."""
    return environment() | {"commit": commit()}


def commit() -> str | None:
    """The commit of this checkout, `+` behind it where files differ; None elsewhere."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        git = ["git", "-C", str(root)]
        head = subprocess.run(
            [*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no", "allconv"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if changed else "")


def _variables() -> str:
    """The variables set here that may change numbers, but for those told elsewhere."""
    told = ("TF_ENABLE_ONEDNN_OPTS", "TF_NUM_INTRAOP_THREADS")
    return " ".join(
        f"{name}={value}"
        for name, value in sorted(os.environ.items())
        if name.startswith(VARIABLES) and name not in told
    )


def _threads() -> int:
    """Of one operation, as asked for; 0: TensorFlow's choice, which is all cores."""
    asked = tf.config.threading.get_intra_op_parallelism_threads()
    variable = os.environ.get("TF_NUM_INTRAOP_THREADS", "")
    return asked or (int(variable) if variable.isdecimal() else 0)


def _cpuinfo(key: str) -> str:
    """The first value of a key in Linux' list of processors; empty elsewhere."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(key):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return ""
