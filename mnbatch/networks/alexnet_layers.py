"""The layers of AlexNet (Krizhevsky, "One weird trick", 2014), with the names and first weights of torchvision's.

Importing torchvision costs as much as importing torch (it loads torch's compiler), and every process that scores with
attention-AlexNet would pay it; the other networks import it when one of them is made.
"""

from __future__ import annotations

from torch import nn

_IMAGENET_CLASSES = 1000


def alexnet_convolutions() -> nn.Sequential:
    """Five convolutions, each with its ReLU, and three poolings: (B, 3, 224, 224) -> (B, 256, 6, 6)."""
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(inplace=True)),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(inplace=True)),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2)),
    )


def alexnet_dense_layers(outputs: int) -> nn.Sequential:
    """Three dense layers, the first two after dropout: (B, 9216) -> (B, outputs)."""
    return nn.Sequential(
        *(nn.Dropout(), nn.Linear(256 * 6 * 6, 4096), nn.ReLU(inplace=True)),
        *(nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(inplace=True)),
        nn.Linear(4096, outputs),
    )


def alexnet_features() -> nn.Sequential:
    """The convolutions for a network that puts something else on top.

    The dense layers are made and dropped: what is put on top then starts from the same random weights as where
    torchvision makes the whole network, so that a training of a given seed can be repeated.
    """
    convolutions = alexnet_convolutions()
    alexnet_dense_layers(_IMAGENET_CLASSES)
    return convolutions
