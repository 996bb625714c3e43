"""The emoji teachers' tokenizer and text encoder, in the layout of Stable Diffusion's CLIP.

The byte-pair vocabulary is learnt from the names, large enough that nearly each of their words is one token; bytes
remain for everything else, so that any text has tokens.
"""

import json
from pathlib import Path

from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

LENGTH = 24  # tokens of a prompt, with those for start and end
BYTES = pre_tokenizers.ByteLevel.alphabet()
START, END = "<|startoftext|>", "<|endoftext|>"
MERGES = 4096  # at most; the names ask for fewer
WIDTH = 160


def write_tokenizer(names: tuple[str, ...], folder: Path) -> None:
    """Learn the vocabulary from `names` and write vocab.json, merges.txt and tokenizer_config.json into `folder`."""
    merges = _merges(names)
    letters = sorted(BYTES)
    vocabulary = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in merges), START, END]
    folder.mkdir(parents=True, exist_ok=True)
    numbered = {token: number for number, token in enumerate(vocabulary)}
    (folder / "vocab.json").write_text(json.dumps(numbered, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    special = {"bos_token": START, "eos_token": END, "pad_token": END, "unk_token": END}
    about = {"tokenizer_class": "CLIPTokenizer", "model_max_length": LENGTH, "do_lower_case": True, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n", encoding="utf-8")


def _merges(names: tuple[str, ...]) -> list[tuple[str, str]]:
    """Pairs to join, the most frequent first, in words ending in </w>."""
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.normalizer = normalizers.Lowercase()
    learner.pre_tokenizer = CLIPTokenizer().backend_tokenizer.pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=2 * len(BYTES) + MERGES,
        min_frequency=1,
        initial_alphabet=BYTES,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    learner.train_from_iterator(names, trainer)
    return [(left, right) for left, right in json.loads(learner.to_str())["model"]["merges"]]


def new_text_encoder(tokenizer: CLIPTokenizer, width: int = WIDTH, layers: int = 3) -> CLIPTextModel:
    """An untrained text encoder for the tokenizer's vocabulary."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        projection_dim=width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def name_as_of_old(file: Path) -> None:
    """Give the weights in `file` the names they have in Stable Diffusion, under text_model; both names load."""
    weights = load_file(file)
    old = {key if key.startswith("text_") else f"text_model.{key}": value for key, value in weights.items()}
    save_file(old, file, metadata={"format": "pt"})
