// From query results to the frames a panel draws: transformations, field configuration, overrides. All of it Grafana's own code.

import {
  FieldConfigOptionsRegistry,
  applyFieldOverrides,
  cacheFieldDisplayNames,
  standardTransformers,
  standardTransformersRegistry,
  toDataFrame,
  transformDataFrame,
} from '@grafana/data';
import { firstValueFrom } from 'rxjs';

standardTransformersRegistry.setInit(() =>
  // Two of them share an id; either does.
  [...new Map(Object.values(standardTransformers).map((transformation) => [transformation.id, { id: transformation.id, name: transformation.name, transformation }])).values()],
);

/** Which properties an override may set. In Grafana each panel plugin registers its own. */
const STANDARD = ['unit', 'min', 'max', 'decimals', 'displayName', 'noValue', 'thresholds', 'mappings', 'links', 'color'];
const property = (path, isCustom) => ({
  id: isCustom ? `custom.${path}` : path,
  path,
  isCustom,
  name: path,
  process: (value) => value,
  shouldApply: () => true,
  settings: {},
  defaultValue: undefined,
});
const registryOf = ({ defaults, overrides }) => {
  const inOverrides = overrides.flatMap(({ properties }) => properties.filter(({ id }) => id.startsWith('custom.')).map(({ id }) => id.slice('custom.'.length)));
  const custom = new Set([...Object.keys(defaults.custom ?? {}), ...inOverrides]);
  return new FieldConfigOptionsRegistry(() => [...STANDARD.map((path) => property(path, false)), ...[...custom].map((path) => property(path, true))]);
};

/** Display names such as `${__field.labels.release}`. */
function named(frame, displayName) {
  if (!displayName) return frame;
  for (const field of frame.fields) {
    if (field.type === 'number') field.config.displayNameFromDS = displayName.replace(/\$\{__field\.labels\.(\w+)\}/g, (_, label) => field.labels?.[label] ?? '');
  }
  return frame;
}

export async function prepare(panel, raw, theme) {
  const { displayName, ...defaults } = panel.fieldConfig.defaults;
  let frames = raw.map((frame) =>
    named(
      toDataFrame({
        refId: frame.refId,
        fields: frame.fields.map(({ displayNameFromDS, ...field }) => ({ ...field, config: displayNameFromDS ? { displayNameFromDS } : {} })),
      }),
      displayName,
    ),
  );
  if (panel.transformations) frames = await firstValueFrom(transformDataFrame(panel.transformations, frames));
  const applied = applyFieldOverrides({
    data: frames,
    fieldConfig: { defaults, overrides: panel.fieldConfig.overrides },
    fieldConfigRegistry: registryOf(panel.fieldConfig),
    replaceVariables: (text) => text,
    theme,
    timeZone: 'utc',
  });
  cacheFieldDisplayNames(applied);
  return applied;
}
