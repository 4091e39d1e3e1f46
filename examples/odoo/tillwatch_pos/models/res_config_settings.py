from odoo import fields, models


class ResConfigSettings(models.TransientModel):
    _inherit = "res.config.settings"

    # Point of Sale writes what begins with `pos_` to the field of that name in the register that is being edited.
    pos_tillwatch_url = fields.Char(related="pos_config_id.tillwatch_url", readonly=False)
    pos_tillwatch_store_id = fields.Char(related="pos_config_id.tillwatch_store_id", readonly=False)
    pos_tillwatch_token = fields.Char(related="pos_config_id.tillwatch_token", readonly=False)
    pos_tillwatch_consent = fields.Boolean(related="pos_config_id.tillwatch_consent", readonly=False)
