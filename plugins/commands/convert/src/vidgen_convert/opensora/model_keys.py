"""Keys of `model = dict(...)` in configurations of Open-Sora, of all its diffusion models."""

from vidgen_convert.rule import Table, needless, same, to

ATTENTION = (
    "it has no effect: the recipe's `attention` chooses the kernels. sdpa, the default, is fused where the device can; "
    "flash-attn comes with vidgen-flash-attn"
)
DOWNLOADS = "Open-Sora fetched some weights by their file names alone; here it is a file, a folder or a Hugging Face id"

MODEL: Table = {
    **same("model.type", "model.from_pretrained", "model.force_huggingface"),
    **same("model.space_scale", "model.time_scale", "model.no_temporal_pos_emb", "model.base_size"),
    **same("model.input_size", "model.in_channels", "model.patch_size", "model.hidden_size", "model.depth"),
    **same("model.num_heads", "model.mlp_ratio", "model.class_dropout_prob", "model.drop_path"),
    **same("model.pred_sigma", "model.learn_sigma", "model.condition", "model.caption_channels"),
    **same("model.model_max_length", "model.input_sq_size", "model.qk_norm", "model.qk_norm_legacy"),
    **same("model.freeze", "model.freeze_y_embedder", "model.skip_y_embedder", "model.only_train_temporal"),
    **same("model.kv_compress_config"),
    "model.enable_flash_attn": to("model.enable_flash_attn", note=ATTENTION),
    "model.enable_flashattn": to("model.enable_flash_attn", note=ATTENTION),
    "model.enable_layernorm_kernel": needless("layer norms need no kernel of their own"),
    "model.enable_layernorm": needless("layer norms need no kernel of their own"),
    "model.enable_mem_eff_attn": needless(ATTENTION),
    "model.enable_sequence_parallelism": needless("the recipe's `parallel` decides it for all layers"),
    "model.attn_drop": needless("no published model drops attention"),
    "model.dtype": needless("the recipe's dtype holds for the model"),
}
