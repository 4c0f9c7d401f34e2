"""One object a measurement: a setting goes in, a result that is found or computed comes out.

This is what a chapter calls. A study ties data, model, training and evaluation together and keeps
what it finds in :mod:`mae_lib.runs`; the rooms below know nothing of each other's results.
"""

from mae_lib.studies.attention import ATTENTION
from mae_lib.studies.clips import CLIP_TUNING, MOTION, PROPAGATION, TRACKING_BOUNDS
from mae_lib.studies.cue_conflict import CUE_CONFLICT
from mae_lib.studies.detection import DETECTION
from mae_lib.studies.distances import DISTANCES
from mae_lib.studies.embedding import EMBEDDING, PIXEL_EMBEDDING
from mae_lib.studies.finetuning import FEW_LABELS, FINETUNING, FROM_SCRATCH
from mae_lib.studies.gameplay import FILLING
from mae_lib.studies.latents import LATENTS, PIXEL_LATENTS
from mae_lib.studies.locality import LOCALITY
from mae_lib.studies.losses import LOSSES
from mae_lib.studies.occlusion import OCCLUSION, PIXEL_OCCLUSION, TUNED_OCCLUSION
from mae_lib.studies.partners import PARTNERS
from mae_lib.studies.plan import ARMS, Plan
from mae_lib.studies.pretraining import PRETRAINING, masks, model, network
from mae_lib.studies.probing import LARS_PROBE, LINEAR_PROBE, PIXEL_PROBE
from mae_lib.studies.program import program
from mae_lib.studies.reconstruction import FLOORS, RECONSTRUCTION
from mae_lib.studies.robustness import FILTER_NETWORK, ROBUSTNESS
from mae_lib.studies.sets import images, images_of
from mae_lib.studies.settings import DATASETS, Setting, grid, one_each, untrained
from mae_lib.studies.shape_bias import SHAPE_BIAS
from mae_lib.studies.similarity import CROSS_CKA
from mae_lib.studies.study import Study, Sweep, records, sweep
from mae_lib.studies.targets import TARGETS
from mae_lib.studies.worlds import SMALL_OBJECTS

ALL = (PRETRAINING, LOSSES, RECONSTRUCTION, FLOORS, LINEAR_PROBE, LARS_PROBE, PIXEL_PROBE,
       FILTER_NETWORK, ROBUSTNESS, SHAPE_BIAS, CUE_CONFLICT, ATTENTION, EMBEDDING,
       PIXEL_EMBEDDING, LATENTS, PIXEL_LATENTS, LOCALITY, CROSS_CKA, DETECTION, FINETUNING,
       FEW_LABELS, OCCLUSION, TUNED_OCCLUSION, PIXEL_OCCLUSION, DISTANCES, FROM_SCRATCH, TARGETS,
       MOTION, CLIP_TUNING, PROPAGATION, TRACKING_BOUNDS, FILLING, SMALL_OBJECTS, PARTNERS)

__all__ = ["ALL", "ARMS", "ATTENTION", "CLIP_TUNING", "CROSS_CKA", "CUE_CONFLICT", "DATASETS",
           "DETECTION", "DISTANCES", "EMBEDDING", "FEW_LABELS", "FILLING", "FILTER_NETWORK",
           "FINETUNING", "FLOORS", "FROM_SCRATCH", "LARS_PROBE", "LATENTS", "LINEAR_PROBE",
           "LOCALITY", "LOSSES", "MOTION", "OCCLUSION", "PARTNERS", "PIXEL_EMBEDDING",
           "PIXEL_LATENTS", "PIXEL_OCCLUSION", "PIXEL_PROBE", "PRETRAINING", "PROPAGATION",
           "RECONSTRUCTION", "ROBUSTNESS", "SHAPE_BIAS", "SMALL_OBJECTS", "TARGETS",
           "TRACKING_BOUNDS", "TUNED_OCCLUSION", "Plan", "Setting", "Study", "Sweep", "grid",
           "images", "images_of", "masks", "model", "network", "one_each", "program", "records",
           "sweep", "untrained"]
