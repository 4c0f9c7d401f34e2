"""One training step of the same masked autoencoder from three libraries.

Every contender gets the same sizes, images, parameter groups and fused AdamW, draws its own masks,
and is called as ``step() -> loss``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import count

from torch import Tensor, nn

from mae_lib.models.methods import mae
from mae_lib.training.pretrain import mask_generator
from mae_lib.training.schedule import Recipe
from mae_lib.training.step import LONG, adamw, compile_step, pick_backend, training_device

SIZES = {
    "laptop": {"size": 32, "patch": 4, "width": 96, "depth": 4, "heads": 3,
               "decoder_width": 48, "decoder_depth": 2, "decoder_heads": 3},
    "mid": {"size": 64, "patch": 8, "width": 192, "depth": 12, "heads": 3,
            "decoder_width": 96, "decoder_depth": 4, "decoder_heads": 3},
}
RATIO = 0.75
Step = Callable[[], Tensor]


def ours(sizes: dict, images: Tensor, backend: str) -> Step:
    """This library's step on one of its backends."""
    backend = pick_backend(backend, steps=LONG)
    recipe = Recipe(views=len(images))
    model = mae("laptop", ratio=RATIO, seed=0, **sizes).to(training_device(backend)).train()
    step, number = compile_step(model, adamw(model, recipe, backend), backend), count()

    def run() -> Tensor:
        mask = model.sample_mask(len(images), mask_generator(0, next(number)))
        return step(images, mask, recipe.lr)

    return run


def transformers_vit_mae(sizes: dict, images: Tensor) -> Step:
    """``transformers.ViTMAEForPreTraining`` with its default (fused) attention."""
    from transformers import ViTMAEConfig, ViTMAEForPreTraining

    width, decoder_width = sizes["width"], sizes["decoder_width"]
    config = ViTMAEConfig(
        image_size=sizes["size"], patch_size=sizes["patch"], hidden_size=width,
        num_hidden_layers=sizes["depth"], num_attention_heads=sizes["heads"],
        intermediate_size=4 * width, decoder_hidden_size=decoder_width,
        decoder_num_hidden_layers=sizes["decoder_depth"],
        decoder_num_attention_heads=sizes["decoder_heads"],
        decoder_intermediate_size=4 * decoder_width, mask_ratio=RATIO, norm_pix_loss=False)
    model = ViTMAEForPreTraining(config).train()
    return _eager_step(model, lambda: model(images).loss)


class LightlyMAE(nn.Module):
    """MAE put together from lightly's modules as its documentation does."""

    def __init__(self, sizes: dict):
        super().__init__()
        from lightly.models.modules import MAEDecoderTIMM, MaskedVisionTransformerTIMM
        from timm.models.vision_transformer import VisionTransformer

        vit = VisionTransformer(sizes["size"], sizes["patch"], num_classes=0,
                                embed_dim=sizes["width"], depth=sizes["depth"],
                                num_heads=sizes["heads"])
        self.patch = sizes["patch"]
        self.backbone = MaskedVisionTransformerTIMM(vit)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the decoder will get another name
            self.decoder = MAEDecoderTIMM(
                vit.patch_embed.num_patches, self.patch, embed_dim=sizes["width"],
                decoder_embed_dim=sizes["decoder_width"], decoder_depth=sizes["decoder_depth"],
                decoder_num_heads=sizes["decoder_heads"])

    def forward(self, images: Tensor) -> Tensor:
        from lightly.models import utils

        batch, length = len(images), self.backbone.sequence_length
        keep, hidden = utils.random_token_mask((batch, length), RATIO)
        x = self.decoder.embed(self.backbone.encode(images, idx_keep=keep))
        masked = utils.repeat_token(self.decoder.mask_token, (batch, length))
        decoded = self.decoder.decode(utils.set_at_index(masked, keep, x.type_as(masked)))
        prediction = self.decoder.predict(utils.get_at_index(decoded, hidden))
        target = utils.get_at_index(utils.patchify(images, self.patch), hidden - 1)
        return nn.functional.mse_loss(prediction, target)


def lightly(sizes: dict, images: Tensor) -> Step:
    """The step of :class:`LightlyMAE`."""
    model = LightlyMAE(sizes).train()
    return _eager_step(model, lambda: model(images))


def _eager_step(model: nn.Module, loss_of: Callable[[], Tensor]) -> Step:
    optimizer = adamw(model, Recipe(views=32))

    def run() -> Tensor:
        loss = loss_of()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    return run


CONTENDERS: dict[str, Callable[[dict, Tensor], Step]] = {
    "ours, auto": lambda sizes, images: ours(sizes, images, "auto"),
    "ours, eager": lambda sizes, images: ours(sizes, images, "eager"),
    "transformers": transformers_vit_mae,
    "lightly": lightly,
}
