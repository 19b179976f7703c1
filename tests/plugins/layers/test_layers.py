"""The shared layers: facts that can be checked by hand."""

import math

import pytest
import torch
from vidgen_layers import captions
from vidgen_layers.attention import CrossAttention, SelfAttention
from vidgen_layers.embedders import CaptionEmbedder, LabelEmbedder, NumberEmbedder, number_features
from vidgen_layers.layers import DropPath, RMSNorm, add_gated, modulate, table_rows
from vidgen_layers.patches import PatchEmbed, pad_to_patches, token_grid, unpatch
from vidgen_layers.positions import axis_table, grid_table, rotary_frequencies, rotate, rotation


def test_patches_are_the_convolutions() -> None:
    embed = PatchEmbed(channels=3, patch=(1, 2, 5), width=7)
    x = torch.randn(2, 3, 4, 6, 10)
    wanted = embed.proj(x).flatten(3).permute(0, 2, 3, 1)  # (B, D, t, h, w) -> (B, t, h w, D)
    torch.testing.assert_close(embed(x), wanted)


def test_unpatching_puts_every_number_where_it_came_from() -> None:
    x = torch.arange(2 * 3 * 4 * 6 * 10.0).view(2, 3, 4, 6, 10)
    pt, ph, pw = patch = (2, 3, 5)
    tokens = x.view(2, 3, 2, pt, 2, ph, 2, pw).permute(0, 2, 4, 6, 3, 5, 7, 1).reshape(2, 2, 4, pt * ph * pw * 3)
    assert torch.equal(unpatch(tokens, patch, rows=2), x)


def test_padding_is_zeros_at_the_far_ends() -> None:
    padded = pad_to_patches(torch.ones(1, 2, 3, 5, 7), (2, 2, 3))
    assert padded.shape == (1, 2, 4, 6, 9) and padded.sum() == 2 * 3 * 5 * 7 and padded[:, :, :3, :5, :7].all()
    assert token_grid((3, 5, 7), (2, 2, 3)) == (2, 3, 3)


def test_a_number_is_told_by_cosines_then_sines() -> None:
    features = number_features(torch.tensor([0.0, 2.5]))
    assert torch.equal(features[0], torch.cat([torch.ones(128), torch.zeros(128)]))
    assert features[1, 0].item() == pytest.approx(math.cos(2.5)) and features[1, 128].item() == pytest.approx(
        math.sin(2.5)
    )
    assert features[1, 127].item() == pytest.approx(math.cos(2.5 * 10000 ** (-127 / 128)))


def test_numbers_are_exact_even_where_weights_are_not() -> None:
    embedder = NumberEmbedder(6).bfloat16()
    out = embedder(torch.tensor([999.0, 1000.0]))
    assert out.dtype == torch.bfloat16 and not torch.equal(out[0], out[1])


def test_position_tables_tell_columns_in_the_first_half() -> None:
    table = grid_table(torch.tensor([0, 1, 2]), torch.tensor([0, 5]), 8)
    assert table.dtype == torch.float64 and table.shape == (6, 8)
    assert torch.equal(table[:, :4], axis_table(torch.tensor([0, 5] * 3), 4))
    assert torch.equal(table[:, 4:], axis_table(torch.tensor([0, 0, 1, 1, 2, 2]), 4))


def test_a_rotation_keeps_lengths_and_tells_distances_alone() -> None:
    """q at n and k at m give the same score as q at n + 3 and k at m + 3 (arXiv 2104.09864, equation 16)."""
    turn = rotation(rotary_frequencies(6), 9, torch.float32)
    q, k = torch.randn(6).expand(9, 6), torch.randn(6).expand(9, 6)
    turned_q, turned_k = rotate(q, turn), rotate(k, turn)
    torch.testing.assert_close(turned_q.norm(dim=1), q.norm(dim=1))
    torch.testing.assert_close(turned_q[0], q[0])
    torch.testing.assert_close(turned_q[1] @ turned_k[4], turned_q[4] @ turned_k[7])


def test_modulation_shifts_and_scales_what_is_normalised() -> None:
    h, shift, scale = torch.randn(2, 5, 8) * 3 + 1, torch.randn(2, 1, 8), torch.randn(2, 1, 8)
    normal = (h - h.mean(-1, keepdim=True)) / torch.sqrt(h.var(-1, keepdim=True, unbiased=False) + 1e-6)
    torch.testing.assert_close(modulate(h, shift, scale), normal * (1 + scale) + shift)
    torch.testing.assert_close(add_gated(h, scale, normal), h + scale * normal)


def test_modulation_has_the_gradients_of_its_formula() -> None:
    parts = [torch.randn(2, 3, 4, dtype=torch.float64), *(torch.randn(2, 1, 4, dtype=torch.float64) for _ in range(2))]
    assert torch.autograd.gradcheck(modulate, [part.requires_grad_() for part in parts])


def test_rows_of_a_table_are_added_to_those_of_a_vector() -> None:
    table, vector = torch.randn(6, 4), torch.randn(2, 3, 24)
    rows = table_rows(table, vector)
    assert len(rows) == 6 and rows[0].shape == (2, 3, 1, 4)
    torch.testing.assert_close(rows[2][:, :, 0], table[2] + vector[..., 8:12])


def test_a_norm_keeps_its_input_type_under_a_wider_weight() -> None:
    norm, h = RMSNorm(4, eps=1e-6), torch.randn(2, 4)
    torch.testing.assert_close(norm(h), h / torch.sqrt(h.square().mean(-1, keepdim=True) + 1e-6))
    assert norm(h.bfloat16()).dtype == torch.bfloat16


def test_a_dropped_path_is_made_up_for_by_the_others() -> None:
    torch.manual_seed(0)
    path = DropPath(0.25).train()
    kept = torch.stack([path(torch.ones(100, 3)) for _ in range(20)])
    assert kept.unique().tolist() == pytest.approx([0, 4 / 3]) and kept.mean().item() == pytest.approx(1, abs=0.05)
    assert (kept == kept[..., :1]).all() and torch.equal(path.eval()(kept), kept)


def test_self_attention_is_blind_to_order_without_positions() -> None:
    attend, h, order = SelfAttention(12, 3, qk_norm=True), torch.randn(2, 5, 12), torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(attend(h)[:, order], attend(h[:, order]))
    turn = rotation(rotary_frequencies(4), 5, torch.float32)
    assert not torch.allclose(attend(h, turn)[:, order], attend(h[:, order], turn))


def test_the_order_of_norm_and_rotation_matters_where_channels_differ() -> None:
    turn, h = rotation(rotary_frequencies(4), 5, torch.float32), torch.randn(2, 5, 12)
    first, last = SelfAttention(12, 3, qk_norm=True), SelfAttention(12, 3, qk_norm=True, norm_after_rotation=True)
    last.load_state_dict(first.state_dict())
    torch.testing.assert_close(first(h, turn), last(h, turn))
    for layer in (first, last):
        with torch.no_grad():
            layer.q_norm.weight.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert not torch.allclose(first(h, turn), last(h, turn))


def test_cross_attention_sees_only_what_counts() -> None:
    attend, h, tokens = CrossAttention(12, 3), torch.randn(4, 5, 12), torch.randn(4, 3, 12)
    text = captions.text(tokens, torch.tensor([[1, 0, 1], [0, 1, 0]]), 4)
    out = attend(h, *text)
    torch.testing.assert_close(out[2:3], attend(h[2:3], tokens[2:3, [0, 2]], None))
    torch.testing.assert_close(out[3:4], attend(h[3:4], tokens[3:4, 1:2], None))


def test_padding_that_no_caption_needs_is_cut_off() -> None:
    y, mask = torch.randn(2, 5, 3), torch.tensor([[1, 0, 1, 0, 0], [1, 0, 0, 0, 0]])
    cut, cut_mask = captions.trimmed(y, mask)
    assert torch.equal(cut, y[:, :3]) and torch.equal(cut_mask, mask[:, :3])
    assert captions.trimmed(y, None)[0] is y
    meta = captions.trimmed(y.to("meta"), mask.to("meta"))
    assert meta[0].shape == (2, 5, 3)  # looking would stop a device


def test_packed_captions_come_apart_again() -> None:
    tokens = torch.arange(7.0)[:, None].expand(7, 2)[None]
    for lengths in ([4, 1, 2], torch.tensor([4, 1, 2])):
        rows, mask = captions.unpacked(tokens, lengths)
        assert [rows[i][mask[i]][:, 0].tolist() for i in range(3)] == [[0, 1, 2, 3], [4], [5, 6]]


def test_a_mean_caption_leaves_out_what_does_not_count() -> None:
    y = torch.randn(4, 3, 2)
    mean = captions.mean_caption(y, torch.tensor([[1, 0, 1], [0, 1, 0]]))
    torch.testing.assert_close(mean[2], (y[2, 0] + y[2, 2]) / 2)
    torch.testing.assert_close(mean[3], y[3, 1])


def test_the_null_class_is_the_last_row() -> None:
    embedder = LabelEmbedder(4, 3, null_class=True)
    out = embedder(torch.tensor([2, 2]), torch.tensor([False, True]))
    assert torch.equal(out, embedder.embedding_table.weight[[2, 4]])


def test_a_dropped_caption_is_the_null_caption_before_it_is_projected() -> None:
    embedder = CaptionEmbedder(channels=3, width=4, length=5)
    torch.nn.init.normal_(embedder.y_embedding)
    y = torch.randn(2, 5, 3)
    out = embedder(y, torch.tensor([True, False]))
    torch.testing.assert_close(out[0], embedder.y_proj(embedder.y_embedding))
    torch.testing.assert_close(out[1], embedder.y_proj(y[1]))


def test_keys_and_values_of_captions_are_worked_out_once_for_all_blocks() -> None:
    blocks = [torch.nn.ModuleDict({"cross_attn": CrossAttention(12, 3)}) for _ in range(2)]
    tokens, mask, h = torch.randn(2, 5, 12), torch.tensor([[1, 1, 0, 0, 0], [1, 0, 1, 0, 0]]), torch.randn(2, 7, 12)
    kept = captions.for_blocks({"text": tokens, "mask": mask}, blocks)
    assert kept["text"].shape == (2, 2, 5, 24) and kept["mask"] is mask
    plain = captions.text(*captions.trimmed(tokens, mask), clips=2)
    for_blocks = captions.text(*captions.trimmed(kept["text"], mask), clips=2)
    assert for_blocks.tokens.shape == (2, 2, 3, 24)
    for number, block in enumerate(blocks):
        layer = block["cross_attn"]
        expected = layer(h, *plain.of_block(number))
        torch.testing.assert_close(layer(h, *for_blocks.of_block(number)), expected, rtol=0, atol=1e-6)
