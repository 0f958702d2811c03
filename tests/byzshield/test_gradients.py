import numpy as np
import torch

from mlsys_ray.byzshield.data import Normaliser, load_dataset
from mlsys_ray.byzshield.data.digits import load_digits
from mlsys_ray.byzshield.gradients import Evaluator, GradientComputer
from mlsys_ray.byzshield.models import flatten_parameters, make_model


def test_it_is_the_mean_gradient_of_the_loss_whatever_the_threads():
    dataset = load_dataset("digits")
    computer = GradientComputer("cnn", dataset)
    model = make_model("cnn", dataset.input_shape, 10, seed=3)
    computer.load(flatten_parameters(model))
    rows = np.array([5, 900, 17])
    images = torch.from_numpy(Normaliser(dataset.train_images)(dataset.train_images[rows]))
    expected = np.zeros(len(flatten_parameters(model)))
    for image, label in zip(images, dataset.train_labels[rows], strict=True):
        model.zero_grad()
        torch.nn.functional.cross_entropy(model(image[None]), torch.tensor([label])).backward()
        parts = [p.grad.reshape(-1) for p in model.parameters() if p.grad is not None]
        expected += torch.cat(parts).double().numpy() / len(rows)
    gradient = computer.gradient(rows)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        np.testing.assert_array_equal(computer.gradient(rows), gradient)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_flipped_labels_give_the_gradient_of_flipped_labels():
    dataset = load_digits()
    computer = GradientComputer("cnn", dataset)
    rows = np.flatnonzero(dataset.train_labels == 2)[:4]
    flipped = computer.gradient(rows, flip=True)
    dataset.train_labels[rows] = 7
    np.testing.assert_array_equal(computer.gradient(rows), flipped)


def test_accuracy_counts_right_answers():
    dataset = load_dataset("digits")
    model = make_model("cnn", dataset.input_shape, 10)
    with torch.no_grad():
        list(model.parameters())[-2].zero_()
        list(model.parameters())[-1].copy_(torch.nn.functional.one_hot(torch.tensor(4), 10))
    share = (dataset.test_labels == 4).mean()
    assert Evaluator("cnn", dataset).accuracy(flatten_parameters(model)) == share
