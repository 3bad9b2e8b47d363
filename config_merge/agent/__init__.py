"""The OpenWISP agent's protocol (spec section 1A): plain HTTP, a device key, plain text.

`messages` are the values, `endpoints` decides, `registration` lets devices in, `asgi` is the thin application in
front of Django's handler, `views` the same behind it for servers without it.
"""
