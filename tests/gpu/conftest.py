"""Tests below need a GPU, but for that of the page; see tests/gpu/run.py and docs/gpu.md."""

import pytest
import torch


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark them `gpu`, and skip them where there is none."""
    for item in items:
        if item.path.parent.name == "gpu" and item.path.name != "test_page.py":
            item.add_marker(pytest.mark.gpu)
            if not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip(reason="no CUDA device here"))
