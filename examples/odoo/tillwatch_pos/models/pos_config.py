import re

from odoo import _, api, fields, models
from odoo.exceptions import ValidationError

# What the collector takes as the name of a store.
STORE_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")

TILLWATCH_FIELDS = ["tillwatch_url", "tillwatch_store_id", "tillwatch_token", "tillwatch_consent"]


class PosConfig(models.Model):
    _inherit = "pos.config"

    tillwatch_url = fields.Char(
        string="Collector URL",
        help="The address of the tillwatch collector, such as https://rum.example.com. Without it nothing is measured.",
    )
    tillwatch_store_id = fields.Char(
        string="Store ID",
        help="The name of this shop at the collector: letters, digits and _ . : -",
    )
    tillwatch_token = fields.Char(
        string="Token",
        copy=False,
        groups="point_of_sale.group_pos_user",
        help="A token of this store, from `tillwatch token issue`. Whoever opens the register can read it.",
    )
    tillwatch_consent = fields.Boolean(
        string="Consent",
        help="Whoever works at these tills has agreed to being measured. Without it nothing is measured, kept or sent.",
    )

    @api.constrains("tillwatch_url", "tillwatch_store_id")
    def _check_tillwatch(self):
        for config in self:
            if not config.tillwatch_url:
                continue
            if not config.tillwatch_url.startswith(("https://", "http://")):
                raise ValidationError(_("The collector URL must begin with https:// or http://."))
            if not STORE_ID.fullmatch(config.tillwatch_store_id or ""):
                raise ValidationError(_("The store ID must have 1 to 64 letters, digits and _ . : -"))

    @api.model
    def _load_pos_data_fields(self, config):
        names = super()._load_pos_data_fields(config)
        # An empty list, which Odoo 19 has here, means every field. A list of names must have ours as well.
        return names + TILLWATCH_FIELDS if names else names
