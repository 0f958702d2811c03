import pytest

from mlsys_ray.ios.sources import make_model


def test_a_users_model_and_example(tmp_path, monkeypatch):
    (tmp_path / "nets_of_mine.py").write_text(
        "from torch import nn\ndef net():\n    return nn.Conv2d(3, 4, 1)\ndef no():\n    return 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    module, example = make_model(None, "nets_of_mine:net", (3, 5, 6), batch_size=2)
    assert module(example).shape == (2, 4, 5, 6)
    assert not module.training
    wrong = {
        "needs input_shape": (None, "nets_of_mine:net"),
        "cannot be imported": (None, "nets_of_mine:absent", (3, 5, 5)),
        "not a torch.nn.Module": (None, "nets_of_mine:no", (3, 5, 5)),
        "must be package.module:function": (None, "nets_of_mine", (3, 5, 5)),
        "either network or model": ("squeezenet", "nets_of_mine:net", (3, 5, 5)),
        "is unknown; accepted": ("lenet",),
    }
    for message, arguments in wrong.items():
        with pytest.raises(ValueError, match=message):
            make_model(*arguments)
    with pytest.raises(ValueError, match="batch_size must be 1 or more, is 0"):
        make_model("squeezenet", batch_size=0)
