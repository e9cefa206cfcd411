"""Settings: the columns in which rows say what a network was trained with, and what its ticket's search was."""

UPDATE = ("optimizer_name", "lr", "rest_lr", "momentum", "nesterov", "betas", "weight_decay")
"""The update rule: what an optimizer is, whatever the data and the length of a training."""

SCHEDULE = ("schedule", "milestones", "gamma", "warmup")

TRAINING = ("budget", "batch", "smoothing", "clip", "precision", "guard")

SETTINGS = (*UPDATE, *SCHEDULE, *TRAINING)
"""All of them; those of the source's search have `source_` in front."""

TIMES = ("budget", "warmup", "milestones")
"""Those that are times, in epochs or in steps, as `8ep` and `1250it`."""
