"""Files and scripts that put Muster on machines; nothing here is imported by the house."""
