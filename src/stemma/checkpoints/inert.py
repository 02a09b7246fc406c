"""Entries of config.json that change neither parameters nor logits, whatever the family."""

from __future__ import annotations

# Written anew with each folder, so that an old value is not carried along.
MET_ANEW = frozenset({"architectures", "model_type", "dtype", "torch_dtype", "transformers_version"})

# What `transformers` keeps in every configuration: its own switches and labels, from version 2 to 5.
_ATTRIBUTES = """
attn_implementation chunk_size_feed_forward classif_dropout classifier_dropout finetuning_task gradient_checkpointing
id2label is_encoder_decoder label2id name_or_path num_labels output_attentions output_hidden_states output_past prefix
problem_type return_dict task_specific_params tf_legacy_loss tokenizer_class torchscript use_bfloat16
"""

# Defaults of its text generation, which older folders keep in config.json.
_GENERATION = """
assistant_confidence_threshold assistant_early_exit assistant_ensemble_weight assistant_lookbehind bad_words_ids
begin_suppress_tokens bos_token_id cache_config cache_implementation cls_token_id compile_config constraints
continuous_batching_config decoder_start_token_id disable_compile diversity_penalty do_sample dola_layers early_stopping
encoder_no_repeat_ngram_size encoder_repetition_penalty eos_token_id epsilon_cutoff eta_cutoff
exponential_decay_length_penalty force_words_ids forced_bos_token_id forced_eos_token_id guidance_scale is_assistant
length_penalty low_memory mask_token_id max_cache_len max_length max_matching_ngram_size max_new_tokens max_time
min_length min_new_tokens min_p no_repeat_ngram_size num_assistant_tokens num_assistant_tokens_schedule num_beam_groups
num_beams num_return_sequences output_logits output_scores pad_token_id penalty_alpha prefill_chunk_size
prompt_lookup_num_tokens remove_invalid_values renormalize_logits repetition_penalty return_dict_in_generate
sep_token_id sequence_bias speculation_type stop_strings suppress_tokens target_lookbehind temperature token_healing
top_h top_k top_p typical_p unk_token_id use_cache use_mtp watermarking_config
"""

INERT = frozenset(f"{_ATTRIBUTES} {_GENERATION}".split())
