"""What k-means and features of a corpus take for granted; without torch, for the command line."""

from mt4ssl_core.settings.frames import SAMPLE_RATE, WINDOW

FEATURES, CLUSTERS, ITERATIONS = "mfcc", 500, 25
SAMPLE_FRAMES = 2_000_000  # a sample is at most this long
MIN_SECONDS = WINDOW / SAMPLE_RATE  # one frame: labels for everything that could be trained on
NAME = "train"  # of the lists that labels are written to
LAYERS, FORMATS = "all", ("npy", "safetensors")  # of features on disk
DEVICE = "auto"
