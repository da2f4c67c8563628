"""Names that people know from other toolkits, and what they are called here."""

import difflib
from collections.abc import Iterable, Sequence

# our key, or a sentence: the names that stand for it, without section, in lower case with _
_NAMES = {
    "optim.lr": "learning_rate base_lr peak_lr max_lr init_lr rate",
    "optim.max_updates (training is counted in updates)": (
        "steps step max_steps num_steps total_steps train_steps num_train_steps training_steps "
        "max_train_steps updates num_updates max_update total_updates n_updates iterations "
        "max_iterations iters max_iters num_iters epochs epoch num_epochs max_epochs max_epoch "
        "n_epochs num_train_epochs total_epochs total_num_update"
    ),
    "optim.warmup (a share of optim.max_updates, not a number of updates)": (
        "warmup_steps num_warmup_steps warmup_updates warm_up warmup_ratio warmup_proportion "
        "warmup_epochs warmup_iters phase_ratio"
    ),
    "optim.hold": "hold_steps hold_ratio",
    "optim.decay": "decay_steps decay_ratio lr_decay",
    "optim.init_scale": "init_lr_scale", "optim.final_scale": "final_lr_scale min_lr end_lr",
    "optim.accumulate": (
        "grad_accum grad_accumulation gradient_accumulation gradient_accumulation_steps "
        "grad_accumulation_steps accumulation_steps accumulate_grad_batches accum_grad update_freq "
        "accum accum_iter accumulation"
    ),
    "optim.clip_norm": (
        "max_grad_norm grad_clip clip gradient_clip gradient_clip_val gradient_clipping clip_grad "
        "clip_grad_norm max_norm"
    ),
    "optim.betas": "adam_betas beta beta1 beta2 adam_beta1 adam_beta2",
    "optim.eps": "adam_eps adam_epsilon epsilon", "optim.weight_decay": "wd l2",
    "data.batch_seconds (seconds of audio per batch and process)": (
        "batch_size batchsize bs batch train_batch_size per_device_train_batch_size "
        "per_gpu_train_batch_size max_tokens batch_duration global_batch_size micro_batch_size"
    ),
    "data.workers": "num_workers n_workers nworkers n_jobs dataloader_num_workers loader_workers",
    "data.train": (
        "train_data train_dir train_file train_path train_set train_manifest train_tsv data_dir "
        "data_path dataset dataset_name audio audio_dir corpus path root manifest train_split "
        "train_subset input input_dir"
    ),
    "data.valid": (
        "valid_data valid_dir valid_file valid_set valid_manifest valid_tsv valid_subset val dev "
        "dev_data eval_data validation validation_data val_data valid_path eval_dataset test"
    ),
    "data.labels": "label label_dir label_path km km_path targets_path train_labels label_file",
    "data.valid_share": "val_split valid_split validation_split valid_ratio val_ratio",
    "data.max_seconds": (
        "max_len max_length max_duration max_sample_size max_tokens_valid max_wav_len "
        "max_audio_length max_duration_in_seconds max_sec crop_size"
    ),
    "data.min_seconds": (
        "min_len min_length min_duration min_sample_size min_duration_in_seconds min_sec"
    ),
    "data.shuffle_hours": "shuffle_buffer shuffle_buffer_size buffer_size shuffle_window",
    "data.select": "subset subsample selection",
    "data.buckets": "num_buckets n_buckets num_batch_buckets",
    "encoder.dim": (
        "hidden_size hidden_dim embed_dim embedding_dim d_model model_dim encoder_embed_dim width "
        "hidden n_embd"
    ),
    "encoder.layers": (
        "num_layers n_layers nlayers num_hidden_layers encoder_layers num_encoder_layers depth "
        "n_layer num_blocks"
    ),
    "encoder.heads": (
        "num_heads n_heads nhead nheads num_attention_heads encoder_attention_heads n_head "
        "attention_heads"
    ),
    "encoder.ffn_dim": (
        "intermediate_size ffn ff_dim ffn_size ffn_embed_dim encoder_ffn_embed_dim "
        "dim_feedforward feed_forward_dim d_ff mlp_dim"
    ),
    "encoder.dropout": "hidden_dropout dropout_rate drop drop_rate hidden_dropout_prob",
    "encoder.attention_dropout": "attention_probs_dropout_prob attn_dropout",
    "encoder.input_dropout": "dropout_input feat_proj_dropout",
    "encoder.layerdrop": "encoder_layerdrop layer_drop drop_path",
    "encoder.conv_layers": "conv_feature_layers conv_dim conv_kernel conv_stride",
    "encoder.pre_norm": "layer_norm_first do_stable_layer_norm normalize_before norm_first",
    "encoder.extractor_norm": "extractor_mode feat_extract_norm",
    "encoder.feature_grad_scale": "feature_grad_mult",
    "encoder.normalize": "do_normalize",
    "encoder.pos_conv_kernel": "conv_pos num_conv_pos_embeddings",
    "encoder.pos_conv_groups": "conv_pos_groups num_conv_pos_embedding_groups",
    "encoder.pos_conv_depth": "pos_conv_layers",
    "encoder.relative_buckets": "num_buckets relative_position_embedding gru_rel_pos",
    "encoder.relative_distance": "max_distance max_bucket_distance",
    "masking.prob": "mask_prob mask_time_prob mask_ratio mask_rate",
    "masking.length": "mask_length mask_time_length mask_span span span_length",
    "offline.num_classes": "num_clusters n_clusters clusters k vocab_size num_labels n_classes",
    "offline.weight, online.weight": "loss_weight loss_weights weights alpha lambda_ loss_alpha",
    "online.top_k": "average_top_k_layers top_k_layers average_layers",
    "online.ema_start": "ema ema_decay ema_rate ema_momentum momentum_teacher tau",
    "online.ema_end": "ema_end_decay", "online.ema_anneal_updates": "ema_anneal_end_step",
    "run.seed": "random_seed rng_seed manual_seed",
    "run.precision (fp32, bf16 or fp16)": (
        "fp16 bf16 fp32 amp half mixed_precision dtype torch_dtype autocast use_amp "
        "memory_efficient_fp16 tf32"
    ),
    "run.device": "gpu cuda accelerator use_cuda use_gpu no_cuda cpu",
    "run.out": (
        "save_dir output_dir out_dir outdir output log_dir logdir exp_dir expdir exp run_dir "
        "work_dir workdir checkpoint_dir ckpt_dir save_path output_path results_dir name run_name "
        "exp_name experiment experiment_name default_root_dir"
    ),
    "run.save_every": (
        "save_steps save_interval save_interval_updates checkpoint_every checkpoint_interval "
        "save_freq ckpt_interval every_n_train_steps save_step"
    ),
    "run.keep_every": (
        "save_total_limit keep_last keep_interval_updates keep_last_epochs save_top_k"
    ),
    "run.validate_every": (
        "eval_steps eval_step eval_interval eval_every val_interval val_every validate_interval "
        "validate_interval_updates val_check_interval validation_interval"
    ),
    "run.log_every": "log_interval logging_steps log_steps log_freq log_step log_every_n_steps",
    "run.init_from": (
        "checkpoint ckpt ckpt_path pretrained pretrained_path init init_checkpoint restore_file "
        "finetune_from finetune_from_model model_path w2v_path load_from weights_path "
        "model_name_or_path from_pretrained"
    ),
    "the same command with the same run.out goes on where it stopped": (
        "resume resume_from resume_from_checkpoint auto_resume restart continue_training "
        "reset_optimizer overwrite_output_dir"
    ),
    "several GPUs are used with `torchrun --nproc-per-node N -m mt4ssl_cli pretrain ...`": (
        "gpus num_gpus n_gpus ngpu n_gpu gpu_ids devices num_devices world_size nproc "
        "nproc_per_node distributed_world_size strategy ddp ddp_backend num_nodes nodes fsdp "
        "deepspeed distributed local_rank num_processes"
    ),
    "the optimizer is AdamW, its schedule optim.warmup, optim.hold and optim.decay": (
        "optimizer scheduler lr_scheduler lr_scheduler_type optimizer_name optimizer_type adam "
        "adamw sgd momentum warmup_schedule schedule"
    ),
    "audio of any rate is brought to 16 kHz": "sample_rate sampling_rate sr rate_hz fs",
    "run.loggers": (
        "wandb wandb_project use_wandb report_to tensorboard tensorboard_logdir logger project"
    ),
    "there is no such setting": (
        "compile torch_compile gradient_checkpointing checkpoint_activations flash_attention "
        "patience early_stopping"
    ),
}  # fmt: skip
HINTS = {name: what for what, names in _NAMES.items() for name in names.split()}
SECTIONS = {  # of other toolkits
    "optimizer": "optim", "optimization": "optim", "opt": "optim", "scheduler": "optim",
    "lr_scheduler": "optim", "train": "optim", "training": "optim", "trainer": "optim",
    "model": "encoder", "network": "encoder", "net": "encoder", "dataset": "data",
    "datasets": "data", "task": "data", "dataloader": "data", "loader": "data",
    "common": "run", "checkpoint": "run", "logging": "run", "experiment": "run", "exp": "run",
    "mask": "masking", "hubert": "offline", "data2vec": "online", "teacher": "online",
    "ema": "online", "best_rq": "random_projection", "bestrq": "random_projection",
}  # fmt: skip


def unknown(key: str, known: Iterable[str]) -> str:
    """Return what to say about a key that is none of the ``known`` dotted ones."""
    return f"{key}: unknown key.{suggestion(key, sorted(known))}"


def suggestion(key: str, known: Sequence[str]) -> str:
    """Return " Did you mean optim.lr?", or what else helps with a key that is none of ``known``."""
    plain = key.strip().lstrip("+-~").lower().replace("-", "_").replace("/", ".")
    section, _, leaf = plain.rpartition(".")
    inside = f"{SECTIONS.get(section, section)}.{leaf}"
    if plain in known or inside in known:
        return _ask([plain if plain in known else inside])
    if same := [name for name in known if name.rpartition(".")[2] == leaf]:
        return _ask(same)
    hint = HINTS.get(leaf) or HINTS.get(plain.replace(".", "_"))
    if hint is None and not section and plain in SECTIONS:
        hint = SECTIONS[plain]
    if hint is not None:
        return _ask([hint]) if hint.split(" ")[0].strip(",") in known else f" Here {hint}."
    return _ask(_nearest(plain, leaf, known))


def _nearest(plain: str, leaf: str, known: Sequence[str]) -> list[str]:
    """The known key that is spelled most alike, as a whole or after its section."""
    if near := difflib.get_close_matches(plain, known, 1, 0.8 if "." in plain else 0.6):
        return near
    leaves = {name.rpartition(".")[2]: name for name in known}
    if near := difflib.get_close_matches(leaf, leaves, 1, 0.7):
        return [leaves[near[0]]]
    if near := difflib.get_close_matches(leaf, HINTS, 1, 0.85):
        return [HINTS[near[0]]]
    return difflib.get_close_matches(plain, known, 1, 0.6)


def _ask(names: Sequence[str]) -> str:
    return f" Did you mean {' or '.join(names)}?" if names else ""
