"""Networks by name: one architecture a file, a literal dict, nothing found by magic."""

from __future__ import annotations

from collections.abc import Callable

from mnbatch.networks.alex_ca import AlexCA
from mnbatch.networks.alex_light import AlexLight
from mnbatch.networks.alexnet import AlexNet
from mnbatch.networks.attention_alexnet import AttentionAlexNet
from mnbatch.networks.attention_alexnet_pooling import AttentionLogMeanExpAlexNet, AttentionNormalisedAlexNet
from mnbatch.networks.googlenet import GoogLeNet
from mnbatch.networks.googlenet_att import GoogLeNetAtt
from mnbatch.networks.mobilenet import MobileNet
from mnbatch.networks.msa_net import MsaNet
from mnbatch.networks.network import Network
from mnbatch.networks.resnet import ResNet18, ResNet50
from mnbatch.networks.resnet_att import ResNet18Att, ResNet50Att
from mnbatch.networks.vgg16 import Vgg16
from mnbatch.networks.vgg16_att import Vgg16Att

ARCHITECTURES: dict[str, Callable[[], Network]] = {
    "attention-alexnet": AttentionAlexNet,
    "attention-alexnet-normalised": AttentionNormalisedAlexNet,
    "attention-alexnet-lme": AttentionLogMeanExpAlexNet,
    "alex-light": AlexLight,
    "alex-ca": AlexCA,
    "alexnet": AlexNet,
    "mobilenet": MobileNet,
    "vgg16": Vgg16,
    "googlenet": GoogLeNet,
    "resnet18": ResNet18,
    "resnet50": ResNet50,
    "vgg16-att": Vgg16Att,
    "googlenet-att": GoogLeNetAtt,
    "resnet18-att": ResNet18Att,
    "resnet50-att": ResNet50Att,
    "msa-net": MsaNet,
}
