"""The HTTP control plane: the compatible account routes, our own, the operator's, health and the overview page."""

from purser.inbound.api.app import create_app, create_routes
from purser.inbound.dashboard.session import sign_in_token

__all__ = ["create_app", "create_routes", "sign_in_token"]
