import numpy as np
import pytest
import torch

from mnbatch.errors import ModelError
from mnbatch.evaluation.cell_scoring import grad_cam
from mnbatch.inference.model_directory import LoadedModel, load_model
from mnbatch.inference.network_scores import Normaliser
from mnbatch.networks import ARCHITECTURES


def test_grad_cam_weighs_features_by_their_mean_gradient(model_directories):
    """Checked against numbers: the margin's slope along each feature, by central differences."""
    model = load_model(model_directories["one"])
    pixels = np.random.default_rng(0).integers(0, 255, (1, 224, 224, 3), dtype=np.uint8)
    found = grad_cam(model, pixels)
    network = model.network.double()
    with torch.no_grad():
        x = Normaliser(model.card, torch.device("cpu"))(torch.from_numpy(pixels)).double()
        layer5, layer6, feature = network.convolutions(x)

        def margin(shift):
            logits = network.explain_features(layer5, layer6, feature + shift).logits
            return float(logits[0, 1] - logits[0, 0])

        step = 1e-6
        slopes = torch.zeros(256, dtype=torch.float64)
        for channel in range(256):
            shift = torch.zeros_like(feature)
            shift[0, channel] = step  # the sum of the gradient over the positions of the channel
            slopes[channel] = (margin(shift) - margin(-shift)) / (2 * step) / 169
        expected = torch.relu((slopes[None, :, None, None] * feature).sum(dim=1))
    assert found.shape == (1, 13, 13)
    assert np.allclose(found, expected.numpy(), rtol=1e-3, atol=1e-5 * float(expected.max() + 1e-9) + 1e-7)
    assert all(parameter.grad is None for parameter in model.network.parameters())


def test_another_network_is_refused(model_directories):
    model = load_model(model_directories["one"])
    other = LoadedModel(model.path, model.card, model.digest, ARCHITECTURES["alex-light"]().eval())
    with pytest.raises(ModelError, match="Grad-CAM is available for"):
        grad_cam(other, np.zeros((1, 224, 224, 3), np.uint8))
