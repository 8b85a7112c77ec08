"""Decoded rows leave in pieces, so that a batch of many large files is never whole in memory."""

import pyarrow as pa

from hilum.spark import decoding
from image_files import picture, png


def test_a_batch_comes_out_in_order_in_pieces_of_bounded_size(monkeypatch):
    monkeypatch.setattr(decoding, "PIECE_BYTES", 3 * 20 * 16)
    files = [png(picture(number, 20, 16)) for number in range(7)]
    files[4] = b"no image"
    contents, paths = pa.array(files, pa.binary()), pa.array([f"{n}.png" for n in range(7)])
    work = decoding.DecodeBatches(size=None, max_pixels=10_000, fail=False)
    pieces = list(work(iter([(contents, paths), (contents[:1], paths[:1])])))
    assert [len(piece) for piece in pieces] == [3, 4, 1], "a rejected row holds no pixels"
    rows = [row for piece in pieces for row in piece.to_pylist()]
    assert [row["status"] for row in rows[:7]] == ["ok"] * 4 + ["rejected"] + ["ok"] * 2
    for number, row in enumerate(rows[:7]):
        if row["status"] == "ok":
            assert row["image"]["data"] == picture(number, 20, 16).tobytes()
            assert row["image"]["origin"] == f"{number}.png"
