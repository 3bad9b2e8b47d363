"""Commands of the roof: one module each, named as typed after `manage.py`."""
