//! What terminals' hours and sessions cost a large fleet.
