import numpy as np
import pytest
import torch

from mlsys_ray.byzshield.models import flatten_parameters, load_parameters, make_model


def test_the_seed_decides_the_weights_and_leaves_torch_alone():
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    first, second, other = (
        flatten_parameters(make_model("cnn", (1, 8, 8), 10, seed)) for seed in (0, 0, 1)
    )
    assert torch.rand(1) == expected
    np.testing.assert_array_equal(first, second)
    assert np.any(first != other)
    assert first.dtype == np.float32


def test_parameters_go_back_where_they_came_from():
    model = make_model("cnn", (3, 32, 32), 10)
    vector = np.arange(len(flatten_parameters(model)), dtype=np.float32)
    load_parameters(model, vector)
    np.testing.assert_array_equal(flatten_parameters(model), vector)
    with pytest.raises(ValueError, match="the vector has shape"):
        load_parameters(model, vector[:-1])


def test_a_model_of_the_users(tmp_path, monkeypatch):
    (tmp_path / "my_models.py").write_text(
        "import torch\n"
        "def linear(input_shape, num_classes):\n"
        "    size = input_shape[0] * input_shape[1] * input_shape[2]\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(size, num_classes))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert len(flatten_parameters(make_model("my_models:linear", (1, 8, 8), 10))) == 650
    with pytest.raises(ValueError, match="'my_models:absent', which cannot be imported"):
        make_model("my_models:absent", (1, 8, 8), 10)


def test_resnet18_has_the_parameters_of_the_papers_and_no_running_statistics():
    model = make_model("resnet18", (3, 32, 32), 10)
    assert len(flatten_parameters(model)) == 11_173_962
    assert not list(model.buffers())
    with torch.no_grad():
        assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
