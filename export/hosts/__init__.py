"""Files for other hosts: nn~, Neutone, plain TorchScript and torch.export."""
