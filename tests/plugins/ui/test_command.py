import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from vidgen.errors import UserError
from vidgen_ui.command import sample_recipe


def test_the_command_serves_until_it_is_interrupted(run_folder: Path, tmp_path: Path) -> None:
    start = "import sys; sys.argv[0] = 'vidgen'; from vidgen.cli import main; main()"
    command = [sys.executable, "-c", start, "ui", str(run_folder), "seed=5", "--port", "0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
    assert address is not None
    with urlopen(f"{address[0]}/start", timeout=60) as answer:
        assert json.load(answer)["fields"]["seed"] == 5
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and "ended" in rest


def test_a_recipe_without_prompts_will_do(write: Callable[..., Path], run_folder: Path) -> None:
    path = write(f"job: sample\ncheckpoint: {run_folder}\nseed: 3\nnum_frames: 7\n")
    options: Any = sample_recipe(path, ("upscale=2",)).job.options
    assert (options.seed, options.num_frames, options.upscale, options.image_size) == (3, 7, 2, (8, 12))


def test_a_recipe_that_does_not_sample_is_refused(write: Callable[..., Path]) -> None:
    with pytest.raises(UserError, match="this recipe says job: train"):
        sample_recipe(write("job: train\n"))


def test_a_folder_without_a_checkpoint_is_told(command: Callable[..., Any], tmp_path: Path) -> None:
    done = command("vidgen", "ui", tmp_path)
    assert done.returncode == 2 and "no checkpoint in" in done.stderr and "Traceback" not in done.stderr
    done = command("vidgen", "ui", "missing.yaml")
    assert done.returncode == 2 and "missing.yaml" in done.stderr and "Traceback" not in done.stderr


def test_the_command_is_listed_without_torch(command: Callable[..., Any]) -> None:
    done = command("vidgen", "--help", flags=("-X", "importtime"))
    assert re.search(r"^ +ui +\S", done.stdout, re.MULTILINE)
    assert "vidgen_ui" in done.stderr and not re.search(r"\| +torch$", done.stderr, re.MULTILINE)
