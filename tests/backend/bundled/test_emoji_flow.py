import torch

from backend.bundled.emoji_flow import ManyAlike, new_transformer, velocity


def test_one_token_stands_for_many_that_are_alike() -> None:
    torch.manual_seed(0)
    net = new_transformer(8, 6).eval().requires_grad_(False)
    for parameter in net.parameters():  # as made, the last layers put out next to nothing
        parameter.add_(0.05 * torch.randn_like(parameter))
    x, t, pooled, text = torch.randn(2, 4, 16, 16), torch.tensor([0.2, 0.9]), torch.randn(2, 6), torch.randn(2, 3, 8)
    alike = torch.randn(2, 1, 8)
    many = velocity(net, x, t, torch.cat([text, alike.expand(2, 7, 8)], 1), pooled)
    net.set_attn_processor(ManyAlike(7))
    one = velocity(net, x, t, torch.cat([text, alike], 1), pooled)
    assert (one - many).abs().max() < 1e-5 * many.abs().max()
    net.set_attn_processor(ManyAlike(1))
    assert (velocity(net, x, t, torch.cat([text, alike], 1), pooled) - many).abs().max() > 1e-3 * many.abs().max()
