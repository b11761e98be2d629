"""Training: pictures with object masks, tubes made from them, prompts, losses, and checkpoints that resume."""
