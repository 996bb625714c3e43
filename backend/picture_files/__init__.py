"""Picture files in a folder or zip: which there are, the words beside them, their pixels; without torch.

Nothing in them is trusted.
"""
