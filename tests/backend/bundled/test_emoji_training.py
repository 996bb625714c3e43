from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from backend.bundled import emoji_diffusion, emoji_text, emoji_vae
from backend.bundled.emoji_training import Plan, rows_at, train, write_state
from backend.datasets.emoji import names


def tiny() -> tuple[emoji_diffusion.TextToImage, emoji_diffusion.NoiseLoss, Plan]:
    """A text-to-image network of a few weights, its loss on four latents, and a plan of six steps."""
    torch.manual_seed(0)
    config = CLIPTextConfig(
        vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
        max_position_embeddings=4, bos_token_id=6, eos_token_id=7, pad_token_id=7,
    )  # fmt: skip
    unet = emoji_diffusion.new_unet((16, 16, 16), width=8)
    net = emoji_diffusion.TextToImage(CLIPTextModel(config), unet)
    plan = Plan(steps=6, batch=3, rate=1e-2, warm_up=2, save_every=1e9)
    tokens = torch.tensor([[6, i, 7, 7] for i in range(4)])
    latents = torch.randn(4, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    return net, emoji_diffusion.NoiseLoss(net, latents, tokens, torch.tensor([[6, 7, 7, 7]]), plan), plan


def test_a_resumed_training_ends_as_one_that_was_never_stopped(tmp_path: Path) -> None:
    net, loss, plan = tiny()
    whole = train(net, loss, plan, tmp_path / "whole.pt")
    net, loss, plan = tiny()
    train(net, loss, plan, tmp_path / "parts.pt", stop_at=2)
    torch.manual_seed(99)  # nothing may depend on the generator of the process
    net, loss, plan = tiny()
    with torch.no_grad():
        net.unet.conv_in.weight.zero_()  # what a new process starts from is of no account
    parts = train(net, loss, plan, tmp_path / "parts.pt")
    assert all(torch.equal(whole.state_dict()[key], value) for key, value in parts.state_dict().items())
    untrained = tiny()[0].state_dict()
    assert any(not torch.equal(untrained[key], value) for key, value in parts.state_dict().items())


def test_a_state_is_whole_or_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "state.pt"
    write_state({"step": 1}, file)

    def killed(state: object, out: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        write_state({"step": 2}, file)
    monkeypatch.undo()
    assert torch.load(file, weights_only=True) == {"step": 1}


def test_each_sample_is_seen_once_before_any_is_seen_again() -> None:
    plan = Plan(steps=5, batch=4, rate=1.0)
    seen = torch.cat([rows_at(plan, step, 10) for step in range(5)])
    assert seen[:10].sort().values.tolist() == list(range(10))
    assert seen[10:].sort().values.tolist() == list(range(10))
    assert seen[:10].tolist() != seen[10:].tolist()


def test_rate_rises_stays_and_falls_to_nothing() -> None:
    plan = Plan(steps=100, batch=1, rate=2.0, warm_up=10, decay=0.5)
    assert plan.rate_at(0) == pytest.approx(0.2)
    assert plan.rate_at(40) == 2.0
    assert plan.rate_at(75) == pytest.approx(1.0)
    assert plan.rate_at(100) == 0


def test_the_average_of_a_constant_is_the_constant(tmp_path: Path) -> None:
    net = nn.Linear(1, 1)

    def still(step: int, generator: torch.Generator) -> Tensor:
        return (net.weight * 0).sum() + (net.bias * 0).sum()

    average = train(net, still, Plan(steps=3, batch=1, rate=1.0, weight_decay=0.0), tmp_path / "s.pt")
    assert isinstance(average, nn.Linear)
    assert torch.equal(average.weight, net.weight)


def test_standardised_latents_have_one_spread_and_decode_to_the_same() -> None:
    torch.manual_seed(0)
    vae = emoji_vae.new_vae((8, 8, 8)).eval().requires_grad_(False)
    images = torch.rand(4, 3, 64, 64) * 2 - 1
    before = vae.decode(vae.encode(images).latent_dist.mean).sample
    emoji_vae.standardise(vae, vae.encode(images).latent_dist.mean)
    latents = vae.encode(images).latent_dist.mean
    assert latents.mean((0, 2, 3)) == pytest.approx(torch.zeros(4), abs=1e-5)
    spread = latents.std((0, 2, 3))
    assert spread == pytest.approx(spread[0].expand(4), rel=1e-5)
    assert (vae.decode(latents).sample - before).abs().max() < 1e-4


def test_the_loss_weighs_a_picture_s_error_by_the_snr_between_a_floor_and_five() -> None:
    snr = torch.tensor([0.01, 1.0, 100.0])
    # The error of the noise is that of the picture times the SNR.
    assert emoji_diffusion.loss_weight(snr) * snr == pytest.approx(torch.tensor([0.51, 1.5, 5.0]))


def test_agreement_by_hand() -> None:
    known = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    made = torch.tensor([[0.1, 0.0], [0.2, 0.1], [0.0, 1.9]])
    assert emoji_diffusion.agreement(made, known, torch.tensor([0, 1, 2])) == pytest.approx(2 / 3)


def test_tokenizer_reads_names_back_and_takes_any_text(tmp_path: Path) -> None:
    emoji_text.write_tokenizer(names(), tmp_path)
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path)
    tokens = emoji_diffusion.tokens_of(tokenizer, list(names()))
    assert tokens.shape == (len(names()), emoji_text.LENGTH)
    assert len({tuple(row) for row in tokens.tolist()}) == len(names())
    assert (tokens[:, -1] == tokenizer.eos_token_id).all()  # none is cut off
    assert len(tokenizer("honeybee").input_ids) == 3  # start, one word, end
    read = tokenizer.decode(tokenizer("Face With Tears of Joy").input_ids, skip_special_tokens=True)
    assert read == "face with tears of joy"
    strange = tokenizer("zyxwv 日本 ∑").input_ids
    assert tokenizer.unk_token_id not in strange[1:-1]
