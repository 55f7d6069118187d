"""Settings and where they come from.

Flags win over environment variables, those over the `--config` file, that over the model bundle,
that over the defaults here. An unknown key is an error that names the nearest known one.

In a TOML file the sections are `[detector]`, `[tracker]`, `[refine]`, `[video]`, `[train]`,
`[serve]` and `[sagemaker]`; in the environment the same keys are `MOTRAIL_<SECTION>_<KEY>`, lists
separated by commas. A file may also have `[search]`, ranges that settings of training are tuned in;
see `motrail.config.ranges`.
"""

from motrail.config.layers import OTHER_VARIABLES as OTHER_VARIABLES
from motrail.config.layers import Layer as Layer
from motrail.config.layers import Resolved as Resolved
from motrail.config.layers import environment_layer as environment_layer
from motrail.config.layers import fields as fields
from motrail.config.layers import nearest as nearest
from motrail.config.layers import resolve as resolve
from motrail.config.layers import toml_layer as toml_layer
from motrail.config.layers import variable_name as variable_name
from motrail.config.ranges import Choice as Choice
from motrail.config.ranges import Range as Range
from motrail.config.ranges import Ranges as Ranges
from motrail.config.ranges import search_ranges as search_ranges
from motrail.config.sagemaker import SageMakerSettings as SageMakerSettings
from motrail.config.sections import CameraMotion as CameraMotion
from motrail.config.sections import ClassMode as ClassMode
from motrail.config.sections import DetectorSettings as DetectorSettings
from motrail.config.sections import EncoderPreset as EncoderPreset
from motrail.config.sections import Preset as Preset
from motrail.config.sections import RefineSettings as RefineSettings
from motrail.config.sections import TrackerSettings as TrackerSettings
from motrail.config.sections import VideoSettings as VideoSettings
from motrail.config.serving import ServeSettings as ServeSettings
from motrail.config.settings import SECTIONS as SECTIONS
from motrail.config.settings import Settings as Settings
from motrail.config.training import AugmentSettings as AugmentSettings
from motrail.config.training import BoxLimits as BoxLimits
from motrail.config.training import TrainSettings as TrainSettings
