{
    "name": "tillwatch for Point of Sale",
    "summary": "Measures the tills of Point of Sale and sends what was measured to a tillwatch collector",
    "version": "19.0.1.0.0",
    "category": "Sales/Point of Sale",
    "license": "Other OSI approved licence",
    "depends": ["point_of_sale"],
    "data": ["views/res_config_settings_views.xml"],
    "assets": {
        "point_of_sale._assets_pos": [
            # The SDK as it is: a script that defines the global `tillwatch`. It must come first.
            "tillwatch_pos/static/lib/tillwatch/tillwatch.js",
            "tillwatch_pos/static/src/tillwatch.js",
        ],
    },
}
