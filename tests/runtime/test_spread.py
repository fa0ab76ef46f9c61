"""Work in pieces, one on each core."""

from __future__ import annotations

import threading

import pytest
import torch

from strata.runtime.cores import spread
from strata.runtime.stepping_aside import between_steps, step_aside

CPU = torch.device("cpu")


@pytest.mark.usefixtures("two_threads")
def test_pieces_come_back_in_their_order_from_threads_of_one_core() -> None:
    everywhere = torch.get_num_threads()
    together = threading.Barrier(everywhere, timeout=10)

    def work(piece: int) -> tuple[int, bool, int, str]:
        together.wait()  # as many pieces at a time as there are threads
        inference = torch.is_inference_mode_enabled()
        return piece, inference, torch.get_num_threads(), threading.current_thread().name

    done = spread(work, range(2 * everywhere), CPU)
    assert [piece for piece, *_ in done] == list(range(2 * everywhere))
    assert all(inference for _, inference, *_ in done)
    assert {n_threads for _, _, n_threads, _ in done} == {1}
    assert torch.get_num_threads() == everywhere, "of the caller nothing changes"
    if everywhere > 1:
        assert threading.current_thread().name not in {name for *_, name in done}


@pytest.mark.usefixtures("two_threads")
def test_an_error_reaches_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        spread(lambda piece: 1 // piece, [1, 0, 2], CPU)


def test_the_pieces_of_a_gpu_are_done_in_turn_here() -> None:
    names = spread(lambda _: threading.current_thread().name, range(3), torch.device("cuda"))
    assert set(names) == {threading.current_thread().name}


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_others_go_first_between_pieces(device: str) -> None:
    """Also with pieces of their own, which need not wait for all that are left."""
    order: list[str] = []

    def another() -> None:
        order.append("another")
        with between_steps(lambda: order.append("within")):
            spread(lambda piece: order.append(f"its {piece}"), range(2), torch.device(device))

    step_aside()
    with between_steps(another):
        done = spread(
            lambda piece: order.append(f"{piece}") or piece, range(8), torch.device(device)
        )
    assert done == list(range(8))
    assert order.index("its 1") < order.index("7")
    n_seen = order.count("another")
    step_aside()
    assert order.count("another") == n_seen > 1
