"""Settings: the columns of rows for a network's training settings and its ticket's search."""

UPDATE = ("optimizer_name", "lr", "rest_lr", "momentum", "nesterov", "betas", "weight_decay")
"""The update rule: an optimizer's settings without data and length of training."""

SCHEDULE = ("schedule", "milestones", "gamma", "warmup")

TRAINING = ("budget", "batch", "smoothing", "clip", "precision", "guard")

SETTINGS = (*UPDATE, *SCHEDULE, *TRAINING)
"""All of them; those of the source's search have `source_` in front."""

TIMES = ("budget", "warmup", "milestones")
"""Those that are times, in epochs or in steps, as `8ep` and `1250it`."""
