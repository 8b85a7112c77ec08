import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny batches: threads that wait for each other cost more than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
