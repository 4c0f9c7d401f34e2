"""Everything one tier measures, from its parameters: which runs there are, who looks at them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache

from mae_lib.data.protocols import Images
from mae_lib.ledger.rows import EXTRAS
from mae_lib.models.masks import visible_count
from mae_lib.models.methods import PRESETS
from mae_lib.models.published import described
from mae_lib.runs import Key
from mae_lib.studies.sets import images_of
from mae_lib.studies.settings import Setting, grid, untrained
from mae_lib.studies.study import Study, Sweep, sweep


@dataclass(frozen=True)
class Plan:
    """The parameters of a tier, under the names that its files use.

    Args:
        datasets, seeds, preset, views, batch, lr, train_images: of the pretraining runs.
        ratios: of the ratio series, in which a masking unit is a ViT patch of the preset.
        units: sides of masking units in pixels, at ``unit_ratio``, all on ViT patches of
            ``unit_patch`` pixels (0: the preset's).
        patches: sides of ViT patch and masking unit together, in pixels, at ``unit_ratio``.
        arm_datasets, arm_ratios, arm_seeds: of the arms, see :meth:`arm`.
        longer: how many times the views the arm "longer" gets.
        margins: in pixels, see :class:`Setting`.
        policies: see :class:`Setting`.
        probe_images, probe_test_images: for fitting and testing probes.
        test_images: for all other evaluations.
        shown: images of which pictures are kept.
        conflict_images: of the test of shape bias.
        train_scenes, test_scenes, detector_epochs: of detection, run on the encoders of
            ``detector_seeds``.
        method_datasets, method_seeds, method_views: of the runs that compare methods, see
            :mod:`mae_lib.studies.family`, at ``unit_ratio``.
        factorial: the augmentations that are combined, of masking, cutmix and colour.
        few_counts: numbers of images in pretraining on few.
        photograph_crops: how many crops of one photograph.
        design_seeds, decoder_depths, decoder_widths, encoder_widths, lengths: of the tables of
            design choices, see :mod:`mae_lib.studies.design`; lengths are factors.
        clip_seeds, clip_views, clip_images, clip_ratios: of pretraining on clips, see
            :mod:`mae_lib.studies.video`.
        clip_counts, clip_tuning_views: numbers of clips that are learnt from with and without
            labels, and how many clips fine-tuning sees.
        pair_views, tracked_clips: of pretraining on pairs of frames, and of label propagation.
        world_games, world_seeds, world_views, world_frames, world_test_frames: of pretraining on
            frames of Atari games, see :mod:`mae_lib.studies.worlds`.
        target_images, target_masks: training pictures whose hidden parts are compared, and masks
            that are laid over them, see :mod:`mae_lib.studies.targets`.
        scratch_epochs: of training with labels alone, for as many images as others see in all.
        occlusion_ratios, occlusion_draws: shares of patches dropped, and masks of each.
        finetune_epochs: of fine-tuning methods, and networks of the ratio series at
            ``finetune_ratios``.
        label_share, few_label_epochs: of fine-tuning methods with few labels.
        filter_images, filter_epochs: for the network that picks the filtered images.
        precision: of pretraining, ``"float32"`` or ``"bfloat16"``.
        micro: images a device and forward pass at most, 0 for all of its part of a batch.
        data_root: folder of the data sets that lie on disk, empty if there are none.
        checkpoint: file of published weights to look at in place of networks trained here.
        workers: processes at a time.
        if_stale: ``"show"`` or ``"recompute"``.
    """

    datasets: tuple[str, ...]
    seeds: tuple[int, ...]
    preset: str
    views: int
    batch: int
    lr: float
    ratios: tuple[float, ...]
    units: tuple[int, ...]
    unit_ratio: float
    train_images: int
    workers: int = 1
    if_stale: str = "show"
    unit_patch: int = 0
    patches: tuple[int, ...] = ()
    arm_datasets: tuple[str, ...] = ()
    arm_ratios: tuple[float, ...] = ()
    arm_seeds: tuple[int, ...] = ()
    longer: float = 2
    margins: tuple[int, ...] = ()
    policies: tuple[str, ...] = ()
    probe_images: int = 0
    probe_test_images: int = 0
    test_images: int = 0
    shown: int = 0
    conflict_images: int = 0
    train_scenes: int = 0
    test_scenes: int = 0
    detector_epochs: int = 0
    detector_seeds: tuple[int, ...] = ()
    filter_images: int = 0
    filter_epochs: int = 0
    method_datasets: tuple[str, ...] = ()
    method_seeds: tuple[int, ...] = ()
    method_views: int = 0
    factorial: tuple[str, ...] = EXTRAS
    few_counts: tuple[int, ...] = (1,)
    photograph_crops: int = 1
    design_seeds: tuple[int, ...] = ()
    decoder_depths: tuple[int, ...] = ()
    decoder_widths: tuple[int, ...] = ()
    encoder_widths: tuple[int, ...] = ()
    lengths: tuple[int, ...] = ()
    scratch_epochs: int = 0
    clip_seeds: tuple[int, ...] = ()
    clip_views: int = 0
    clip_images: int = 1
    clip_ratios: tuple[float, ...] = ()
    clip_counts: tuple[int, ...] = ()
    clip_tuning_views: int = 0
    pair_views: int = 0
    tracked_clips: int = 0
    world_games: tuple[str, ...] = ()
    world_seeds: tuple[int, ...] = ()
    world_views: int = 0
    world_frames: int = 1
    world_test_frames: int = 0
    target_images: int = 0
    target_masks: int = 1
    occlusion_ratios: tuple[float, ...] = ()
    occlusion_draws: int = 1
    finetune_epochs: int = 0
    finetune_ratios: tuple[float, ...] = ()
    label_share: float = 0.1
    few_label_epochs: int = 0
    precision: str = "float32"
    micro: int = 0
    data_root: str = ""
    checkpoint: str = ""

    def __post_init__(self) -> None:
        if len(self.occlusion_ratios) and len(set(self.occlusion_ratios)) < 2:
            raise ValueError("occlusion_ratios must hold two different shares or more, "
                             f"got {list(self.occlusion_ratios)}")

    @classmethod
    def of(cls, parameters: Mapping) -> Plan:
        """The plan of those parameters that it knows by name; others are passed over."""
        plan = cls(**{field.name: _frozen(parameters[field.name]) for field in fields(cls)
                      if field.name in parameters})
        return plan._about_checkpoint() if plan.checkpoint else plan

    def _about_checkpoint(self) -> Plan:
        """Both series shrink to the one network in the file."""
        found = _described(self.checkpoint)
        sizes = {name: (shape.get("size", 224), *map(shape.get, ("patch", "width", "depth")))
                 for name, shape in PRESETS.items()}
        own = [name for name, size in sizes.items()
               if size == (found.size[0], found.patch, found.width, found.depth)]
        if not own:
            raise ValueError(f"checkpoint must hold one of {', '.join(sizes)}, "
                             f"got {found.sentence}")
        ratio = found.ratio or self.unit_ratio
        return replace(self, seeds=(0,), preset=own[0], views=0, ratios=(ratio,),
                       units=(found.patch,), unit_ratio=ratio, unit_patch=found.patch,
                       patches=(), arm_ratios=(), arm_seeds=(), margins=(), policies=(),
                       method_seeds=(), design_seeds=(), clip_seeds=(),
                       world_seeds=(), detector_seeds=(0,),
                       finetune_ratios=(ratio,) if self.finetune_ratios else ())

    @property
    def recipe(self) -> dict:
        """What all runs share."""
        own = {"preset": self.preset, "views": self.views, "batch": self.batch, "lr": self.lr,
               "train_images": self.train_images, "root": self.data_root or None,
               "precision": None if self.precision == "float32" else self.precision,
               "micro": self.micro or None}
        if not self.checkpoint:
            return own
        return own | {"checkpoint": self.checkpoint,
                      "target": _described(self.checkpoint).target or "pixel"}

    def beside_images(self, views: int, train_images: int) -> dict:
        """What all runs on clips, or on games, share; these are made here, whatever lies on disk.
        """
        return self.recipe | {"views": views, "train_images": train_images, "root": None,
                              "checkpoint": None}

    @property
    def core(self) -> list[Setting]:
        """Both series of Kong et al. with the ViT patch fixed: ratios, and masking units."""
        return grid(self.datasets, self.ratios, self.units, self.seeds,
                    unit_ratio=self.unit_ratio, unit_patch=self.unit_patch or None, **self.recipe)

    @property
    def patch(self) -> int:
        """Side of a ViT patch, and of a masking unit, in the ratio series."""
        return PRESETS[self.preset]["patch"]

    @property
    def ratio_series(self) -> list[Setting]:
        return [s for s in self.core if s.unit == s.vit_patch == self.patch
                and s.ratio in self.ratios]

    @property
    def unit_series(self) -> list[Setting]:
        return [s for s in self.core if s.ratio == self.unit_ratio and s.unit in self.units
                and s.vit_patch == (self.unit_patch or self.patch)]

    @property
    def coupled_series(self) -> list[Setting]:
        """Patch and masking unit changed together (appendix C of Kong et al.)."""
        smallest = [s for s in self.unit_series if s.unit == min(self.units)]
        return [replace(s, unit=p, patch=None if p == self.patch else p)
                for p in self.patches for s in smallest]

    @property
    def untrained(self) -> list[Setting]:
        """The control of each data set and seed that keeps its initial weights."""
        return [s for seed in self.seeds
                for s in untrained([s for s in self.core if s.seed == seed])]

    @property
    def detected(self) -> list[Setting]:
        """Encoders under a detector: both series on sets with objects to find, the Menagerie's
        scenes and, for ImageNet, COCO."""
        here = replace(self, datasets=tuple(d for d in self.datasets if d in WITH_OBJECTS),
                       seeds=self.detector_seeds)
        return list(dict.fromkeys(here.ratio_series + here.coupled_series + here.untrained))

    @property
    def finetuned(self) -> list[Setting]:
        """Encoders to be trained on with labels: the ratio series, and the control from scratch."""
        chosen = [s for s in self.ratio_series if s.ratio in self.finetune_ratios]
        return chosen + self.untrained if chosen else []

    @property
    def beside_arms(self) -> list[Setting]:
        """The runs of the ratio series that an arm can be compared with: its data, its seeds."""
        return [s for s in self.ratio_series
                if s.dataset in self.arm_datasets and s.seed in self.arm_seeds]

    def arm(self, name: str) -> list[Setting]:
        """A control of the ratio series, or a suggestion of Kong et al., section 3.6.

        Controls, at ``arm_ratios``: ``"equal tokens"``, as many encoder tokens as the run at
        ``unit_ratio`` sees, which is there itself; ``"longer"``, more views; ``"normalised"``,
        per-patch normalised pixels as target. Suggestions, at ``unit_ratio``: ``"margin"``,
        another loss, its control ``"scattered"``, and ``"guided"``, masks that follow the picture.

        Raises:
            ValueError: an unknown name.
        """
        here = replace(self, datasets=self.arm_datasets, seeds=self.arm_seeds)
        usual = replace(here, ratios=self.arm_ratios).ratio_series
        if name == "equal tokens":
            return [replace(s, views=self._equal_views(s)) for s in usual]
        if name == "longer":
            return [replace(s, views=int(self.longer * s.views)) for s in usual]
        if name == "normalised":
            return [replace(s, target="normalised") for s in usual]
        middle = [s for s in here.ratio_series if s.ratio == self.unit_ratio]
        if name == "margin":
            return [replace(s, margin=m) for m in self.margins for s in middle]
        if name == "scattered":
            return [replace(s, margin=min(self.margins), scattered=True) for s in middle
                    if self.margins]
        if name == "guided":
            return [replace(s, policy=p) for p in self.policies for s in middle
                    if s.dataset == "menagerie"]  # the other's pictures have no known parts
        raise ValueError(f"name must be one of {', '.join(ARMS)}, got {name!r}")

    def test_set(self, dataset: str) -> Images:
        """The test images of a data set, as its networks see them."""
        setting = next(s for s in self.core if s.dataset == dataset)
        return images_of(setting, "test", self.test_images)

    def sweep(self, study: Study, settings: list[Setting]) -> Sweep:
        """A study over settings, with its arguments from the plan."""
        return sweep(study, settings, workers=self.workers, if_stale=self.if_stale,
                     **self._arguments(study))

    def key(self, study: Study, setting: Setting) -> Key:
        """Under which the plan's result of a study is kept."""
        return study.key(setting, **self._arguments(study))

    def _arguments(self, study: Study) -> dict:
        return {name: getattr(self, name) for name in study.arguments}

    def _equal_views(self, setting: Setting) -> int:
        """Views with which the encoder sees as many tokens as at ``unit_ratio``, whole batches."""
        if setting.ratio == self.unit_ratio:
            return setting.views
        shape = PRESETS[self.preset]
        count = (shape.get("size", 224) // shape["patch"]) ** 2
        usual, own = (1 + visible_count(count, r) for r in (self.unit_ratio, setting.ratio))
        return round(self.views * usual / own / self.batch) * self.batch


WITH_OBJECTS = ("menagerie", "imagenet")
ARMS = ("equal tokens", "longer", "normalised", "margin", "scattered", "guided")


_described = lru_cache(maxsize=4)(described)  # which reads the whole file


def _frozen(value):
    return tuple(value) if isinstance(value, list) else value
